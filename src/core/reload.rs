//! What a reload does to listeners. New addresses are bound before old listeners are closed,
//! unless they overlap.

use std::net::SocketAddr;

use crate::model::listen::Address;

/// Indexes into the arguments of [`changes`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Listeners that stay, each with its wanted address.
    pub keep: Vec<(usize, usize)>,
    /// Wanted addresses that are bound first.
    pub bind: Vec<usize>,
    /// Listeners that are closed next.
    pub close: Vec<usize>,
    /// Addresses with the old listeners that they overlap, which are closed first. If the bind
    /// fails, the first listener is bound again.
    pub replace: Vec<(usize, Vec<usize>)>,
}

/// The flag says whether a listener's socket may stay.
pub fn changes(now: &[(Address, bool)], wanted: &[Address]) -> Changes {
    let mut changes = Changes::default();
    let mut leaving: Vec<usize> = Vec::new();
    for (place, (address, may_stay)) in now.iter().enumerate() {
        match wanted.iter().position(|other| *may_stay && other == address) {
            Some(want) => changes.keep.push((place, want)),
            None => leaving.push(place),
        }
    }
    for (want, address) in wanted.iter().enumerate() {
        if changes.keep.iter().any(|(_, kept)| *kept == want) {
            continue;
        }
        let (overlapped, others) = leaving.into_iter().partition(|&place| overlap(&now[place].0, address));
        leaving = others;
        // One shared old listener is enough to delay the address.
        let shares_one =
            changes.replace.iter().any(|(_, old)| old.iter().any(|&place| overlap(&now[place].0, address)));
        match overlapped {
            old if old.is_empty() && !shares_one => changes.bind.push(want),
            old => changes.replace.push((want, old)),
        }
    }
    changes.close = leaving;
    changes
}

pub fn overlap(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) => {
            let all = |address: &SocketAddr| address.ip().is_unspecified();
            one.port() == other.port()
                && one.is_ipv4() == other.is_ipv4()
                && (one.ip() == other.ip() || all(one) || all(other))
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::Tcp(text.parse().unwrap())).collect()
    }

    fn staying(addresses: &[Address]) -> Vec<(Address, bool)> {
        addresses.iter().map(|address| (address.clone(), true)).collect()
    }

    #[test]
    fn listeners_in_both_configurations_are_kept() {
        let now = addresses(&["0.0.0.0:80", "0.0.0.0:81"]);
        let wanted = addresses(&["0.0.0.0:82", "0.0.0.0:81"]);
        let expected = Changes { keep: vec![(1, 1)], bind: vec![0], close: vec![0], replace: vec![] };
        assert_eq!(changes(&staying(&now), &wanted), expected);
    }

    #[test]
    fn an_address_that_overlaps_one_that_goes_comes_last() {
        let now = addresses(&["127.0.0.1:80", "127.0.0.2:80", "[::]:80"]);
        let wanted = addresses(&["0.0.0.0:80", "[::]:80"]);
        let found = changes(&staying(&now), &wanted);
        assert_eq!((found.keep, found.replace), (vec![(2, 1)], vec![(0, vec![0, 1])]));
        let found =
            changes(&staying(&addresses(&["0.0.0.0:80"])), &addresses(&["127.0.0.1:80", "127.0.0.2:80"]));
        assert_eq!(found.replace, [(0, vec![0]), (1, vec![])]);
    }

    #[test]
    fn a_socket_that_may_not_stay_is_made_anew() {
        let address = Address::Unix("/run/x".into());
        let found = changes(&[(address.clone(), false)], &[address]);
        assert_eq!((found.keep, found.replace), (vec![], vec![(0, vec![0])]));
    }

    proptest! {
        #[test]
        fn each_listener_and_wanted_address_is_handled_once(
            now in proptest::collection::btree_set(0u16..20, 0..10), wanted in proptest::collection::btree_set(0u16..20, 0..10)
        ) {
            let address = |number: &u16| {
                let ip = [[0, 0, 0, 0], [127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]][usize::from(number % 4)];
                Address::Tcp((ip, 80 + number / 4).into())
            };
            let (now, wanted): (Vec<_>, Vec<_>) = (now.iter().map(address).collect(), wanted.iter().map(address).collect());
            let found = changes(&staying(&now), &wanted);
            let mut old: Vec<usize> = found.keep.iter().map(|(place, _)| *place).collect();
            old.extend(&found.close);
            old.extend(found.replace.iter().flat_map(|(_, old)| old));
            old.sort_unstable();
            prop_assert_eq!(old, (0..now.len()).collect::<Vec<_>>());
            let mut new: Vec<usize> = found.keep.iter().map(|(_, want)| *want).collect();
            new.extend(&found.bind);
            new.extend(found.replace.iter().map(|(want, _)| *want));
            new.sort_unstable();
            prop_assert_eq!(new, (0..wanted.len()).collect::<Vec<_>>());
            for &want in &found.bind {
                for address in found.close.iter().chain(found.replace.iter().flat_map(|(_, old)| old)) {
                    prop_assert!(!overlap(&now[*address], &wanted[want]));
                }
            }
        }
    }
}
