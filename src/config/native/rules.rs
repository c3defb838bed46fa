//! The access rules of a service, and those of them that can never match: each
//! is a slip of somebody who believes to be protected by it.

use ipnet::IpNet;

use super::Reader;
use super::fields::{Field, Fields};
use super::report::At;
use super::units::Fault;
use super::value::Value;
use crate::config::plan::{Access, Address};

impl Reader<'_> {
    /// From where clients may come.
    pub fn access(&mut self, fields: &Fields, listen: &[Address]) -> Access {
        let (allow, deny) = (rules(fields, "allow"), rules(fields, "deny"));
        for list in [&allow, &deny].into_iter().flatten() {
            self.has_none_twice(list.1);
            if list.0.own {
                self.matches_addresses(list.1, listen);
            }
        }
        if let (Some((_, allow)), Some((_, deny))) = (&allow, &deny) {
            self.are_not_beaten(allow, deny);
        }
        let networks = |(_, rules): (_, &[(IpNet, At)])| rules.iter().map(|(network, _)| *network).collect();
        Access { allow: allow.map(networks), deny: deny.map(networks).unwrap_or_default() }
    }

    fn has_none_twice(&mut self, rules: &[(IpNet, At)]) {
        for (number, (network, at)) in rules.iter().enumerate() {
            if rules[..number].iter().any(|(other, _)| other == network) {
                self.report.error(at, Fault::plain(format!("{network} stands in this list already")));
            }
        }
    }

    /// A client of one family never comes to an address of the other.
    fn matches_addresses(&mut self, rules: &[(IpNet, At)], listen: &[Address]) {
        let is_of = |address: &Address, wanted: bool| matches!(address, Address::Tcp(address) if address.is_ipv4() == wanted);
        // Addresses of no family at all are another error.
        if !listen.iter().any(|address| matches!(address, Address::Tcp(_))) {
            return;
        }
        for (network, at) in rules {
            let is_ipv4 = matches!(network, IpNet::V4(_));
            if !listen.iter().any(|address| is_of(address, is_ipv4)) {
                let family = if is_ipv4 { "IPv4" } else { "IPv6" };
                let message = format!("{network} never matches: this service has no address of {family}");
                self.report.error(at, Fault::plain(message));
            }
        }
    }

    fn are_not_beaten(&mut self, allow: &[(IpNet, At)], deny: &[(IpNet, At)]) {
        for (network, at) in allow {
            if let Some((_, denied)) = deny.iter().find(|(other, _)| other == network) {
                let place = self.report.name(denied, at);
                let message =
                    format!("allowing {network} has no effect: it is denied {place}, and `deny` wins a tie");
                self.report.error(at, Fault::plain(message));
            }
        }
    }
}

fn rules<'f>(fields: &'f Fields, name: &str) -> Option<(&'f Field, &'f [(IpNet, At)])> {
    let field = fields.field(name)?;
    match &field.value {
        Some(Value::Networks(networks)) => Some((field, networks)),
        _ => None,
    }
}
