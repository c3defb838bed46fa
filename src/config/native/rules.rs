//! Access rules and PROXY senders of a service. A rule that can never match is an error, because
//! its author relies on it for protection.

use ipnet::IpNet;

use super::keys::RawService;
use super::raw::Field;
use super::reader::NativeReader;
use super::report::At;
use super::units::{Fault, value};
use crate::model::listen::Address;
use crate::model::plan::Access;

impl NativeReader<'_> {
    pub fn access(&mut self, raw: &RawService, listen: &[Address]) -> Access {
        // A PROXY header can name a client of any address family.
        let named = expects_header(raw);
        for list in [&raw.allow, &raw.deny] {
            let Some(networks) = list.get() else { continue };
            self.has_none_twice(networks);
            if list.own_at().is_some() && !named {
                self.matches_addresses(networks, listen);
            }
        }
        if let (Some(allow), Some(deny)) = (raw.allow.get(), raw.deny.get()) {
            self.are_not_beaten(allow, deny);
        }
        Access { allow: networks(&raw.allow), deny: networks(&raw.deny).unwrap_or_default() }
    }

    /// The trusted senders of PROXY headers; `None` if the service expects no header.
    pub fn proxy_protocol(&mut self, raw: &RawService, listen: &[Address]) -> Option<Vec<IpNet>> {
        let (senders, at) = (raw.proxy_protocol.get()?, raw.proxy_protocol.at()?);
        let is_own = raw.proxy_protocol.own_at().is_some();
        self.has_none_twice(senders);
        let from_network = listen.iter().any(|address| matches!(address, Address::Tcp(_)));
        if senders.is_empty() && from_network {
            let hint = "name the proxies, as [\"192.0.2.7\"], or write `false` if there are none";
            let message = "no client could connect: the list of trusted senders is empty";
            self.report.error(at, Fault::new(message, hint));
        }
        if is_own && from_network {
            self.matches_addresses(senders, listen);
        } else if is_own && !listen.is_empty() {
            for (network, at) in senders {
                let message = format!(
                    "{} never matches: this service listens on `unix:` addresses only",
                    value(network)
                );
                let hint = "write `[]`: clients that `socket_mode` admits are trusted";
                self.report.error(at, Fault::new(message, hint));
            }
        }
        networks(&raw.proxy_protocol)
    }

    fn has_none_twice(&mut self, rules: &[(IpNet, At)]) {
        for (number, (network, at)) in rules.iter().enumerate() {
            if rules[..number].iter().any(|(other, _)| other == network) {
                self.report
                    .error(at, Fault::plain(format!("{} stands in this list already", value(network))));
            }
        }
    }

    /// Reports rules of a family in which the service has no address.
    fn matches_addresses(&mut self, rules: &[(IpNet, At)], listen: &[Address]) {
        let is_of = |address: &Address, wanted: bool| matches!(address, Address::Tcp(address) if address.is_ipv4() == wanted);
        // A service without network addresses has another error.
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

/// Whether connections begin with a PROXY header, also if its list is invalid.
pub(super) fn expects_header(raw: &RawService) -> bool {
    raw.proxy_protocol.is_given() && !raw.proxy_protocol.is_off()
}

fn networks(list: &Field<Vec<(IpNet, At)>>) -> Option<Vec<IpNet>> {
    Some(list.get()?.iter().map(|(network, _)| *network).collect())
}
