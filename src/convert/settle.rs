//! Resolves conflicts between services with the same address. Only one socket can be bound to it,
//! so only one service keeps the address.

use std::collections::{HashMap, HashSet};

use super::reader::ServiceReader;
use super::toml::{Item, TomlEntry};
use crate::config::native::collide;
use crate::config::source::Source;
use crate::model::listen::Address;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Winner {
    /// inetd: a later service replaces it.
    Last,
    /// xinetd: the later service has the same id or cannot be bound, and is dropped.
    First,
}

impl ServiceReader<'_> {
    /// Leaves each address to one service. A service that loses all addresses is switched off.
    ///
    /// An address and the wildcard address of its family also conflict. The first of them wins: on
    /// Linux the second one cannot be bound while the first one listens.
    pub(super) fn settle(&mut self, items: &mut [Item], winner: Winner) {
        let mut entries: Vec<&mut TomlEntry> = Vec::new();
        for item in items {
            let Item::Service(entry) = item else { continue };
            once_each(&mut entry.listen);
            if !entry.disabled {
                entries.push(entry);
            }
        }
        let places: Vec<String> = entries.iter().map(|entry| place(entry, self.sources)).collect();
        let replaced_by = if winner == Winner::Last { last_of_each(&entries) } else { HashMap::new() };
        let mut names: HashSet<String> = HashSet::new();
        let mut taken: Vec<(Address, usize)> = Vec::new();
        for (number, entry) in entries.iter_mut().enumerate() {
            let typed = entry.typed.clone();
            if winner == Winner::First && names.contains(&entry.name) {
                let why = format!("another service has the name {}, and counts", entry.name);
                self.switch_off(entry, &typed, why);
                continue;
            }
            let owner_of = |address: &Address| match replaced_by.get(address) {
                Some(&last) if last != number => Some((address.clone(), last)),
                _ => taken.iter().find(|(other, _)| collide(address, other)).cloned(),
            };
            let (mut kept, mut lost) = (Vec::new(), Vec::new());
            for address in &entry.listen {
                match owner_of(address) {
                    None => kept.push(address.clone()),
                    Some((other, owner)) => lost.push((address.clone(), other, owner)),
                }
            }
            if let (true, Some((_, other, owner))) = (kept.is_empty(), lost.first()) {
                let place = &places[*owner];
                let why = format!("{place} has {other} as well, and takes precedence");
                self.switch_off(entry, &typed, why);
                continue;
            }
            for (address, other, owner) in lost {
                let message = format!("{address} is left out: {} has {other}", places[owner]);
                self.warn(entry, &typed, message);
            }
            taken.extend(kept.iter().map(|address| (address.clone(), number)));
            names.insert(entry.name.clone());
            entry.listen = kept;
        }
    }
}

/// A service with only this address takes precedence over those with several.
fn last_of_each(entries: &[&mut TomlEntry]) -> HashMap<Address, usize> {
    let mut last: HashMap<Address, usize> = HashMap::new();
    for several in [true, false] {
        for (number, entry) in entries.iter().enumerate() {
            if (entry.listen.len() > 1) == several {
                last.extend(entry.listen.iter().map(|address| (address.clone(), number)));
            }
        }
    }
    last
}

fn place(entry: &TomlEntry, sources: &[Source]) -> String {
    let source = &sources[entry.typed.source];
    format!("{}:{}", source.path.display(), source.place(entry.typed.range.start).line)
}

/// Removes addresses that a wildcard address or an equal address covers.
fn once_each(listen: &mut Vec<Address>) {
    let mut kept: Vec<Address> = Vec::new();
    for address in listen.drain(..) {
        if address.is_all() {
            kept.retain(|other| !collide(other, &address));
        }
        if !kept.iter().any(|other| collide(other, &address)) {
            kept.push(address);
        }
    }
    *listen = kept;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::convert::world::World;

    fn settled(winner: Winner, services: &[&[&str]]) -> Vec<Vec<String>> {
        let sources = [Source::decode(Path::new("f"), b"x\n".to_vec())];
        let mut items: Vec<Item> = services
            .iter()
            .enumerate()
            .map(|(number, listen)| {
                let listen = listen.iter().map(|text| Address::Tcp(text.parse().unwrap())).collect();
                Item::Service(TomlEntry { name: number.to_string(), listen, ..TomlEntry::default() })
            })
            .collect();
        ServiceReader::new(&sources, &World::default(), &mut Vec::new()).settle(&mut items, winner);
        let addresses = |item: &Item| match item {
            Item::Service(entry) if !entry.disabled => entry.listen.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        items.iter().map(addresses).collect()
    }

    const V4: &str = "0.0.0.0:80";
    const V6: &str = "[::]:80";
    const OWN: &str = "127.0.0.1:80";

    #[test]
    fn a_service_loses_an_address_and_keeps_the_others() {
        assert_eq!(settled(Winner::First, &[&[V4], &[V4, V6]]), [vec![V4], vec![V6]]);
        assert_eq!(settled(Winner::Last, &[&[V4, V6], &[V6]]), [vec![V4], vec![V6]]);
        assert_eq!(settled(Winner::Last, &[&[V6], &[V4, V6]]), [vec![V6], vec![V4]]);
        assert_eq!(settled(Winner::Last, &[&[V4, V6], &[OWN]]), [vec![V4, V6], vec![]]);
        assert_eq!(settled(Winner::Last, &[&[OWN], &[V4, V6]]), [vec![OWN], vec![V6]]);
    }

    #[test]
    fn of_two_for_one_address_one_is_left() {
        assert_eq!(settled(Winner::First, &[&[V4], &[V4]]), [vec![V4], vec![]]);
        assert_eq!(settled(Winner::Last, &[&[V4], &[V4]]), [vec![], vec![V4]]);
    }

    #[test]
    fn a_service_has_each_of_its_addresses_once() {
        assert_eq!(settled(Winner::First, &[&[OWN, OWN, V6]]), [[OWN, V6]]);
        assert_eq!(settled(Winner::First, &[&[OWN, V6, V4]]), [[V6, V4]]);
    }
}
