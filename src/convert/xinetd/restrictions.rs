//! Restrictions of an xinetd service: carried over, or a reason to switch the service off.

use ipnet::IpNet;

use super::access;
use super::attributes::{Attributes, Value};
use super::read::Block;
use crate::config::diagnostic::Severity;
use crate::config::zeros::without_leading_zeros;
use crate::convert::reader::{ServiceReader, WRITE_RULES};
use crate::convert::toml::{TomlEntry, can_come};
use crate::convert::words::no_address;

impl ServiceReader<'_> {
    /// Carries over `only_from` and `no_access`. `access_times` switches the service off.
    pub(super) fn access(&mut self, attributes: &Attributes, entry: &mut TomlEntry) {
        let allowed = attributes.value("only_from").map(|value| self.networks("only_from", value, entry));
        let denied = attributes.value("no_access").map(|value| self.networks("no_access", value, entry));
        match (allowed, denied) {
            (Some(allowed), _) if allowed.is_empty() => {
                entry.keys.networks("allow", allowed, "no address of only_from can reach this service");
            }
            (allowed, denied) => {
                // xinetd denies a network that is in both lists.
                let denied = denied.unwrap_or_default();
                if let Some(mut allowed) = allowed {
                    allowed.retain(|network| !denied.contains(network));
                    entry.keys.networks("allow", allowed, "");
                }
                if !denied.is_empty() {
                    entry.keys.networks("deny", denied, "");
                }
            }
        }
        if let Some(times) = attributes.value("access_times") {
            let why = "access_times is not carried over: there are no times of access here";
            self.switch_off(entry, &times.at, why);
        }
    }

    fn networks(&mut self, name: &str, value: &Value, entry: &mut TomlEntry) -> Vec<IpNet> {
        let mut found: Vec<IpNet> = Vec::new();
        let mut left_out: Vec<String> = Vec::new();
        for word in &value.words {
            let Some(networks) = access::networks(word) else {
                let why = match without_leading_zeros(word) {
                    Some(_) => format!("in {name}: {}", no_address(word)),
                    None => {
                        format!("{word} in {name} is not an address or network; host names are not looked up")
                    }
                };
                self.switch_off(entry, &value.at, why);
                continue;
            };
            for network in networks {
                if !can_come(&network, &entry.listen) {
                    // `localhost` stands for two addresses, of which the service needs only one.
                    if word != "localhost" {
                        left_out.push(network.to_string());
                    }
                } else if !found.contains(&network) {
                    found.push(network);
                }
            }
        }
        if let Some(first) = left_out.first() {
            let why = format!("{first} in {name} is left out: the service has no address of its family");
            entry.comments.push(self.note(Severity::Note, &value.at, why));
        }
        found
    }

    pub(super) fn flags(&mut self, block: &Block, attributes: &Attributes, entry: &mut TomlEntry) {
        let (mut wrapped, mut nodelay) = (true, false);
        if let Some(flags) = attributes.value("flags") {
            for flag in &flags.words {
                match &*flag.to_ascii_uppercase() {
                    "NOLIBWRAP" => wrapped = false,
                    "IPV4" | "IPV6" | "REUSE" | "KEEPALIVE" | "NAMEINARGS" | "DISABLE" | "INTERCEPT" => {}
                    "NODELAY" => nodelay = true,
                    "NORETRY" => {
                        let message = format!("the flag {flag} is not carried over: it has no counterpart");
                        self.once(entry, &flags.at, message);
                    }
                    _ => self.switch_off(entry, &flags.at, format!("the flag {flag} cannot be carried over")),
                }
            }
        }
        if nodelay {
            entry.keys.set("nodelay", "true");
        }
        if wrapped {
            self.asks_rules(entry, &block.at, "xinetd", WRITE_RULES);
        }
    }
}
