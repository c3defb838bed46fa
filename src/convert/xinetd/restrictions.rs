//! What restricts a service of xinetd: carried over, or a reason to stay closed.

use super::access;
use super::attributes::{Attributes, Value};
use super::read::Block;
use super::service::Reader;
use crate::config::zeros::without_leading_zeros;
use crate::convert::toml::{Entry, array};
use crate::convert::words::no_address;

impl Reader<'_> {
    /// `only_from` and `no_access` as networks, and what else restricts.
    pub(super) fn access(&mut self, attributes: &Attributes, entry: &mut Entry) {
        let allowed = attributes.value("only_from").map(|value| self.networks("only_from", value, entry));
        let denied = attributes.value("no_access").map(|value| self.networks("no_access", value, entry));
        match (allowed, denied) {
            (Some(allowed), _) if allowed.is_empty() => {
                entry.keys.explain("allow", array::<&str>([]), "only_from has nobody that can come");
            }
            (allowed, denied) => {
                // What both name is denied there as well.
                let denied = denied.unwrap_or_default();
                let allowed = allowed.map(|mut list| {
                    list.retain(|network| !denied.contains(network));
                    list
                });
                if let Some(allowed) = allowed {
                    entry.keys.set("allow", array(allowed));
                }
                if !denied.is_empty() {
                    entry.keys.set("deny", array(denied));
                }
            }
        }
        if let Some(times) = attributes.value("access_times") {
            self.close(
                entry,
                &times.at,
                "access_times is not carried over: there are no times of access here",
            );
        }
    }

    fn networks(&mut self, name: &str, value: &Value, entry: &mut Entry) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for word in &value.words {
            match access::networks(word) {
                Some(networks) => {
                    // Where no address of a family is listened on, none of it comes.
                    let comes = |network: &&ipnet::IpNet| {
                        let is_six = |address: &String| address.starts_with('[');
                        entry.listen.iter().any(|address| is_six(address) != network.addr().is_ipv4())
                    };
                    for network in networks.iter().filter(comes).map(ToString::to_string) {
                        if !found.contains(&network) {
                            found.push(network);
                        }
                    }
                }
                None => {
                    let why = match without_leading_zeros(word) {
                        Some(_) => format!("in {name}: {}", no_address(word)),
                        None => format!(
                            "{word} in {name} is no address or network, and no name server is asked here"
                        ),
                    };
                    self.close(entry, &value.at, &why);
                }
            }
        }
        found
    }

    /// Flags that restrict, and the rules of TCP wrappers.
    pub(super) fn flags(&mut self, block: &Block, attributes: &Attributes, entry: &mut Entry) {
        let mut wrapped = true;
        if let Some(flags) = attributes.value("flags") {
            for flag in &flags.words {
                match &*flag.to_ascii_uppercase() {
                    "NOLIBWRAP" => wrapped = false,
                    "IPV4" | "IPV6" | "REUSE" | "KEEPALIVE" | "NAMEINARGS" | "DISABLE" | "INTERCEPT" => {}
                    "NODELAY" | "NORETRY" => {
                        self.once(
                            entry,
                            &flags.at,
                            format!("the flag {flag} is not carried over: it has no counterpart"),
                        );
                    }
                    _ => self.close(entry, &flags.at, &format!("the flag {flag} can't be carried over")),
                }
            }
        }
        if let Some(path) = self.world.wrapper_rules.as_ref().filter(|_| wrapped) {
            let why = format!(
                "xinetd asks {}, which has rules and is not asked here: write them as allow \
                and deny, then switch it on",
                path.display()
            );
            self.close(entry, &block.at, &why);
        }
    }
}
