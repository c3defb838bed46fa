//! Converts a service of xinetd. A restriction that cannot be carried over switches it off.

use super::attributes::{Attributes, Value};
use super::read::Block;
use crate::config::diagnostic::Severity;
use crate::config::session_variables::is_of_session;
use crate::convert::account::{User, is_number, unnameable, user_of_number, write_group, write_user};
use crate::convert::program::started;
use crate::convert::reader::{DATAGRAMS, MULTIPLEXER, RPC, Refusal, ServiceReader, WAIT};
use crate::convert::toml::{Item, TomlEntry, array, string, table};
use crate::convert::words::{ALL_V4, ALL_V6, listed, no_address};
use crate::sys::text::same_name;

impl ServiceReader<'_> {
    pub(super) fn service(&mut self, block: &Block, attributes: &Attributes) -> Item {
        let id = attributes.word("id").unwrap_or(&block.name);
        let (name, typed) = (id.to_owned(), block.at.clone());
        let mut entry = TomlEntry { name, typed, ..TomlEntry::default() };
        let refusal = why_not(block, attributes).or_else(|| self.listen(block, attributes, &mut entry).err());
        if let Some(refusal) = refusal {
            let off = is_off(id, attributes);
            let severity = if off { Severity::Note } else { Severity::Warning };
            let what = if id == block.name { id.to_owned() } else { format!("{id} ({})", block.name) };
            let off = if off { ", which was off" } else { "" };
            return self.refused(severity, refusal, Some(format!("service {what}{off}")));
        }
        entry.disabled = is_off(id, attributes);
        for (at, name) in &attributes.ignored {
            self.once(&mut entry, at, format!("{name} has no effect in defaults, there or here"));
        }
        for (at, fault) in &attributes.faults {
            self.switch_off(&mut entry, at, fault);
        }
        if block.skipped {
            self.switch_off(
                &mut entry,
                &block.at,
                "xinetd skips this block, since a } above it ends no block",
            );
        }
        for (name, _) in attributes.names().filter(|(_, value)| value.commented) {
            // `Blocks::without_comment` has warned about it, once for all services.
            entry.disabled = true;
            entry.comments.push(format!("switched off: a # follows a value of {name}"));
        }
        self.program(attributes, &mut entry);
        self.identity(attributes, &mut entry);
        self.environment(attributes, &mut entry);
        self.access(attributes, &mut entry);
        self.flags(block, attributes, &mut entry);
        self.limits(attributes, &mut entry);
        self.texts(attributes, &mut entry);
        self.others(attributes, &mut entry);
        Item::Service(entry)
    }

    fn listen(
        &mut self,
        block: &Block,
        attributes: &Attributes,
        entry: &mut TomlEntry,
    ) -> Result<(), Refusal> {
        let typed = attributes.word("port").unwrap_or(&block.name);
        let place = attributes.value("port").map_or(&block.at, |value| &value.at);
        let port = self.port(typed, place)?;
        let has = |flag: &str| attributes.has("flags", flag);
        let only_v6 = attributes.word("v6only").is_some_and(|word| word.eq_ignore_ascii_case("yes"));
        let addresses = match attributes.value("bind") {
            Some(bind) => {
                let wrong = |host: &str| (bind.at.clone(), no_address(host));
                let [host] = &bind.words[..] else { return Err(wrong(&bind.words.join(" "))) };
                if host.contains(['*', ',']) {
                    return Err(wrong(host));
                }
                listed(host).map_err(wrong)?
            }
            None => Vec::new(),
        };
        let listen = match addresses[..] {
            // In xinetd an IPv6 socket also takes IPv4 clients, unless it is IPv6-only.
            [] if has("IPv4") && !has("IPv6") => vec![ALL_V4],
            [] if only_v6 => vec![ALL_V6],
            [] => vec![ALL_V4, ALL_V6],
            [address] if address == ALL_V6 && !only_v6 => vec![ALL_V4, ALL_V6],
            _ => addresses,
        };
        entry.listen_on(&listen, port);
        if attributes.value("bind").is_none() && !has("IPv4") && !has("IPv6") && !only_v6 {
            let message = "without the flags IPv4 and IPv6 a service listens on both, as in Debian's xinetd; \
                if yours listens on IPv4 alone, remove the [::] addresses";
            self.once(entry, &block.at, message);
        }
        Ok(())
    }

    /// xinetd reads digits as an ID.
    fn identity(&mut self, attributes: &Attributes, entry: &mut TomlEntry) {
        let mut own_group = attributes.word("group").map(str::to_owned);
        if let Some(value) = attributes.value("user") {
            let typed = value.first();
            let user = match is_number(typed) {
                true => user_of_number(self.world, typed, own_group.is_some()),
                false => User { name: typed.to_owned(), group: None, said: None },
            };
            let password = write_user(entry, &user.name);
            match user.said {
                Some(Ok(message)) => self.once(entry, &value.at, message),
                Some(Err(why)) => self.switch_off(entry, &value.at, why),
                None => {}
            }
            if let Some(message) = password {
                self.once(entry, &value.at, message);
            }
            if let Some(group) = &user.group {
                write_group(entry, group);
            }
            let groups = attributes.word("groups").is_some_and(|word| word.eq_ignore_ascii_case("yes"));
            if user.name != "root" && !groups {
                let message = "a program has all groups of its account here; xinetd takes those away \
                    that the account has besides its first, unless groups is yes";
                self.once(entry, &value.at, message);
            }
        } else if let Some(server) = attributes.value("server") {
            entry.keys.set("user", string("none"));
            // A native file accepts no group without an account.
            let group =
                own_group.map_or_else(String::new, |group| format!(", and its group {}", string(&group)));
            let why = format!(
                "this block has no user, so its program would run as the server; write an account{group}"
            );
            self.switch_off(entry, &server.at, why);
            return;
        }
        if let Some((value, typed)) = attributes.value("group").zip(own_group.as_mut())
            && is_number(typed)
        {
            match typed.parse().ok().and_then(self.world.group) {
                Some(name) => {
                    self.once(entry, &value.at, format!("group {typed} is written by its name, {name}"));
                    *typed = name;
                }
                None => {
                    let why = format!("group {typed} has no name on this system: write its name");
                    self.switch_off(entry, &value.at, why);
                }
            }
        }
        if let Some(group) = own_group {
            write_group(entry, &group);
        }
    }

    fn program(&mut self, attributes: &Attributes, entry: &mut TomlEntry) {
        let Some(server) = attributes.value("server") else { return };
        let arguments: Vec<&str> = attributes.words("server_args").iter().map(|word| &**word).collect();
        let program = server.first();
        let started = match attributes.has("flags", "NAMEINARGS") {
            true => started(program, &arguments),
            false => started(program, &[&[program][..], &arguments[..]].concat()),
        };
        started.write(entry);
        if started.wrapped {
            // tcpd itself asks the rules, regardless of the flags.
            self.asks_rules(entry, &server.at, "tcpd", "");
            self.once(entry, &server.at, "tcpd is left out; its rules are not asked here");
        }
        if let Some(assumption) = started.assumption() {
            self.warn(entry, &server.at, assumption);
        }
    }

    fn environment(&mut self, attributes: &Attributes, entry: &mut TomlEntry) {
        if let Some(value) = attributes.value("env").filter(|value| !value.words.is_empty()) {
            // The last value of a name counts. TOML accepts each key once.
            let mut pairs: Vec<(&str, String)> = Vec::new();
            for word in &value.words {
                let (name, text) = word.split_once('=').unwrap_or((word, ""));
                if self.is_variable(name, text, value, entry) {
                    pairs.retain(|(known, _)| !same_name(known.as_ref(), name.as_ref()));
                    pairs.push((name, string(text)));
                }
            }
            entry.keys.set("environment", table(pairs));
        }
        if let Some(value) = attributes.value("passenv") {
            let mut names: Vec<&str> = Vec::new();
            for name in &value.words {
                if self.is_variable(name, "", value, entry) {
                    names.push(name);
                }
            }
            entry.keys.set("inherit_environment", array(names));
        }
    }

    /// Whether a native file accepts the variable. If not, adds a note.
    fn is_variable(&mut self, name: &str, text: &str, value: &Value, entry: &mut TomlEntry) -> bool {
        let why = if is_of_session(name.as_ref()) {
            "the server sets it for each session"
        } else if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
            "no program can find such a variable"
        } else {
            return true;
        };
        self.warn(entry, &value.at, format!("the variable {} is not carried over: {why}", string(name)));
        false
    }
}

/// The first reason that applies.
fn why_not(block: &Block, attributes: &Attributes) -> Option<Refusal> {
    let has = |name: &str, word: &str| attributes.has(name, word);
    let lacks = |name: &str, word: &str| attributes.value(name).is_some() && !attributes.has(name, word);
    let internal = "services inside xinetd are not here; a program of the system may do the same";
    let relay = "connections are not passed on; a program that connects can do it";
    let unnamed = attributes.word("user").and_then(unnameable);
    let reasons = [
        ("type", has("type", "INTERNAL"), internal),
        ("type", has("type", "RPC"), RPC),
        ("type", has("type", "TCPMUX") || has("type", "TCPMUXPLUS"), MULTIPLEXER),
        ("socket_type", lacks("socket_type", "stream"), DATAGRAMS),
        ("protocol", lacks("protocol", "tcp"), "only TCP is served"),
        ("flags", has("flags", "SENSOR"), "a sensor serves nobody; its list of clients is not kept here"),
        ("redirect", attributes.value("redirect").is_some(), relay),
        ("wait", has("wait", "yes"), WAIT),
        ("wait", !has("wait", "no"), "wait = no is missing, and xinetd does not serve without it"),
        ("user", unnamed.is_some(), unnamed.as_deref().unwrap_or_default()),
        ("server", attributes.words("server").len() != 1, "a server is missing"),
    ];
    let (name, _, why) = reasons.into_iter().find(|(_, applies, _)| *applies)?;
    let at = attributes.value(name).map_or(&block.at, |value| &value.at);
    Some((at.clone(), why.to_owned()))
}

fn is_off(id: &str, attributes: &Attributes) -> bool {
    let listed = |name: &str| attributes.words(name).iter().any(|typed| typed == id);
    attributes.has("disable", "yes")
        || attributes.has("flags", "DISABLE")
        || listed("disabled")
        || (attributes.value("enabled").is_some() && !listed("enabled"))
}
