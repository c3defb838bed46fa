//! What restricts a service of xinetd: carried over, or a reason to stay closed.

use super::access;
use super::attributes::{Attributes, Value};
use super::read::Block;
use super::service::Reader;
use crate::convert::toml::{Entry, array};

/// What restricts a service in ways that we have no key for.
const RESTRICTIONS: [(&str, &str); 1] = [("access_times", "there are no times of access here")];

impl Reader<'_> {
    /// `only_from` and `no_access` as networks, and what else restricts.
    pub(super) fn access(&mut self, attributes: &Attributes, entry: &mut Entry) {
        if let Some(allowed) = attributes.value("only_from") {
            let networks = self.networks("only_from", allowed, entry);
            if allowed.words.is_empty() {
                entry.keys.explain("deny", array(["0.0.0.0/0", "::/0"]), "only_from is empty");
                return;
            }
            entry.keys.set("allow", array(networks));
        }
        if let Some(denied) = attributes.value("no_access") {
            let networks = self.networks("no_access", denied, entry);
            entry.keys.set("deny", array(networks));
        }
        for (name, why) in RESTRICTIONS {
            if let Some(value) = attributes.value(name) {
                self.close(entry, &value.at, &format!("{name}: {why}"));
            }
        }
    }

    fn networks(&mut self, name: &str, value: &Value, entry: &mut Entry) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for word in &value.words {
            match access::networks(word) {
                Some(networks) => {
                    for network in networks.iter().map(ToString::to_string) {
                        if !found.contains(&network) {
                            found.push(network);
                        }
                    }
                }
                None => {
                    let why = format!(
                        "{word} in {name} is no address or network, and no name server is asked here"
                    );
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
