//! The access rules of a service and the senders that it trusts, and those of
//! them that can never match: each is a slip of somebody who believes to be
//! protected by it.

use ipnet::IpNet;

use super::Reader;
use super::fields::{Field, Fields};
use super::report::At;
use super::units::{Fault, value};
use super::value::Value;
use crate::model::listen::Address;
use crate::model::plan::Access;

impl Reader<'_> {
    /// From where clients may come.
    pub fn access(&mut self, fields: &Fields, listen: &[Address]) -> Access {
        let (allow, deny) = (rules(fields, "allow"), rules(fields, "deny"));
        // A client that a PROXY header names may have an address of any family.
        let named = expects_header(fields);
        for list in [&allow, &deny].into_iter().flatten() {
            self.has_none_twice(list.1);
            if list.0.own && !named {
                self.matches_addresses(list.1, listen);
            }
        }
        if let (Some((_, allow)), Some((_, deny))) = (&allow, &deny) {
            self.are_not_beaten(allow, deny);
        }
        let networks = |(_, rules): (_, &[(IpNet, At)])| rules.iter().map(|(network, _)| *network).collect();
        Access { allow: allow.map(networks), deny: deny.map(networks).unwrap_or_default() }
    }

    /// Whose PROXY header is believed, if one is expected.
    pub fn proxy_protocol(&mut self, fields: &Fields, listen: &[Address]) -> Option<Vec<IpNet>> {
        let (field, senders) = rules(fields, "proxy_protocol")?;
        self.has_none_twice(senders);
        let from_network = listen.iter().any(|address| matches!(address, Address::Tcp(_)));
        if senders.is_empty() && from_network {
            let hint = "name the proxies, as [\"192.0.2.7\"], or write `false` if there are none";
            let message = "nobody could connect: the header of no sender is trusted";
            self.report.error(&field.at, Fault::new(message, hint));
        }
        if field.own && from_network {
            self.matches_addresses(senders, listen);
        } else if field.own && !listen.is_empty() {
            for (network, at) in senders {
                let message = format!(
                    "{} never matches: this service listens on `unix:` addresses only",
                    value(network)
                );
                let hint = "write `[]`: who may connect to them, by `socket_mode`, is trusted";
                self.report.error(at, Fault::new(message, hint));
            }
        }
        Some(senders.iter().map(|(network, _)| *network).collect())
    }

    fn has_none_twice(&mut self, rules: &[(IpNet, At)]) {
        for (number, (network, at)) in rules.iter().enumerate() {
            if rules[..number].iter().any(|(other, _)| other == network) {
                self.report
                    .error(at, Fault::plain(format!("{} stands in this list already", value(network))));
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
                let message =
                    format!("{} never matches: this service has no address of {family}", value(network));
                self.report.error(at, Fault::plain(message));
            }
        }
    }

    fn are_not_beaten(&mut self, allow: &[(IpNet, At)], deny: &[(IpNet, At)]) {
        for (network, at) in allow {
            if let Some((_, denied)) = deny.iter().find(|(other, _)| other == network) {
                let place = self.report.name(denied, at);
                let message = format!(
                    "allowing {} has no effect: it is denied {place}, and `deny` wins a tie",
                    value(network)
                );
                self.report.error(at, Fault::plain(message));
            }
        }
    }
}

/// Whether connections begin with a PROXY header, right or wrong as that is.
pub(super) fn expects_header(fields: &Fields) -> bool {
    fields.has("proxy_protocol") && !fields.is_off("proxy_protocol")
}

fn rules<'f>(fields: &'f Fields, name: &str) -> Option<(&'f Field, &'f [(IpNet, At)])> {
    let field = fields.field(name)?;
    match &field.value {
        Some(Value::Networks(networks)) => Some((field, networks)),
        _ => None,
    }
}
