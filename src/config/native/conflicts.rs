//! What contradicts itself: rules that can never decide, two services at one
//! address, two of one name.

use std::collections::HashMap;

use ipnet::IpNet;

use super::reader::Place;
use super::service::Typed;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::plan::Address;
use crate::config::source::Source;
use crate::core::reload::overlap;

pub(super) fn find(services: &[Typed], sources: &[Source], diagnostics: &mut Vec<Diagnostic>) {
    let mut found = Found { sources, diagnostics };
    names(services, &mut found);
    for service in services {
        rules(service, &mut found);
    }
    addresses(services, &mut found);
}

struct Found<'a> {
    sources: &'a [Source],
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Found<'_> {
    fn error(&mut self, place: &Place, message: String) {
        let Some(source) = self.sources.get(place.source) else { return };
        self.diagnostics.push(Diagnostic::at(Severity::Error, source, &place.range, message));
    }

    /// Where something else stands, for a sentence.
    fn line(&self, place: &Place) -> String {
        let Some(source) = self.sources.get(place.source) else { return String::new() };
        let line = source.place(place.range.start).line;
        if self.sources.len() == 1 {
            format!("line {line}")
        } else {
            format!("{}:{line}", source.path.display())
        }
    }
}

fn names(services: &[Typed], found: &mut Found<'_>) {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for typed in services {
        let name = &*typed.service.name;
        if let Some(first) = seen.get(name) {
            let line = found.line(first);
            found.error(&typed.name, format!("a service {name} is in {line} already"));
        } else {
            seen.insert(name, &typed.name);
        }
    }
}

/// A rule that nobody can ever meet is a slip: somebody thinks that it holds.
fn rules(typed: &Typed, found: &mut Found<'_>) {
    let tcp = || {
        typed.listen.iter().filter_map(|(address, _)| match address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        })
    };
    let (v4, v6) = (tcp().any(|address| address.is_ipv4()), tcp().any(|address| address.is_ipv6()));
    for rules in [&typed.allow, &typed.deny] {
        for (at, (rule, place)) in rules.iter().enumerate() {
            if rules[..at].iter().any(|(other, _)| other == rule) {
                found.error(place, format!("{rule} is in this list already, so this one never decides"));
            }
            let reached = match rule {
                IpNet::V4(_) => v4,
                IpNet::V6(_) => v6,
            };
            if !reached && (v4 || v6) {
                let family = if rule.addr().is_ipv4() { "IPv4" } else { "IPv6" };
                let message = format!("{rule} never matches: this service listens on no {family} address");
                found.error(place, message);
            }
        }
    }
    for (rule, place) in &typed.allow {
        if let Some((_, denied)) = typed.deny.iter().find(|(denied, _)| denied == rule) {
            let line = found.line(denied);
            found.error(place, format!("{rule} is denied in {line}, which wins, so this one never decides"));
        }
    }
}

fn addresses(services: &[Typed], found: &mut Found<'_>) {
    // By port, so that many services are looked at quickly.
    let mut seen: HashMap<Option<u16>, Vec<(&Address, &Place)>> = HashMap::new();
    let enabled = services.iter().filter(|typed| typed.service.enabled);
    for (address, place) in enabled.flat_map(|typed| &typed.listen) {
        let port = match address {
            Address::Tcp(address) => Some(address.port()),
            Address::Unix(_) => None,
        };
        let taken = seen.entry(port).or_default();
        // A bare port is several addresses at one place, and one error.
        let said = |other: &&(&Address, &Place)| overlap(other.0, address) && other.1 != place;
        let first = taken.iter().find(said).map(|(other, place)| ((*other).clone(), (*place).clone()));
        let own = taken.iter().any(|(other, at)| *at == place && *other == address);
        taken.push((address, place));
        if let Some((other, first)) = first {
            let line = found.line(&first);
            let message = if other == *address {
                format!("{address} is listened on in {line} already")
            } else {
                format!("{address} can't be bound beside {other} in {line}")
            };
            let repeated = found.diagnostics.last().is_some_and(|last| {
                found.sources.get(place.source).is_some_and(|source| {
                    let here = Diagnostic::at(Severity::Error, source, &place.range, "");
                    last.cited == here.cited
                })
            });
            if !repeated {
                found.error(place, message);
            }
        } else if own {
            found.error(place, format!("{address} is listened on here already"));
        }
    }
}
