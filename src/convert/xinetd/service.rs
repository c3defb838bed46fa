//! A service of xinetd in the native form. What restricted it and can't be
//! carried over switches it off: it never opens wider than it was.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::attributes::Attributes;
use super::read::{Block, Span};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;
use crate::convert::note;
use crate::convert::program::started;
use crate::convert::toml::{Entry, Item, array, string, table};
use crate::convert::words::{listed, no_address};
use crate::convert::world::World;

/// Writes services, and says what there is to say about them.
pub(super) struct Reader<'a> {
    /// The files that were read.
    pub sources: &'a [Source],
    /// What is known of the system.
    pub world: &'a World,
    /// What was said.
    pub notes: &'a mut Vec<Diagnostic>,
    /// What is said once only.
    pub said: HashSet<String>,
}

impl Reader<'_> {
    fn note(&mut self, severity: Severity, at: &Span, message: impl Into<String>) -> String {
        note(self.notes, severity, &self.sources[at.source], &at.range, message)
    }

    /// The service does not open wider than it was.
    pub(super) fn close(&mut self, entry: &mut Entry, at: &Span, why: &str) {
        entry.disabled = true;
        entry.comments.push(self.note(Severity::Warning, at, format!("switched off: {why}")));
    }

    /// Something that is no one's harm, once.
    pub(super) fn once(&mut self, entry: &mut Entry, at: &Span, message: String) {
        if self.said.insert(message.clone()) {
            entry.comments.push(self.note(Severity::Note, at, message));
        }
    }

    /// A block as a service, or as a comment that says why it is none.
    pub(super) fn service(&mut self, block: &Block, attributes: &Attributes) -> Item {
        let id = attributes.word("id").unwrap_or(&block.name);
        let Span { source, range: typed } = block.at.clone();
        let mut entry = Entry { name: id.to_owned(), source, typed, ..Entry::default() };
        let refusal = why_not(block, attributes).or_else(|| self.listen(block, attributes, &mut entry).err());
        if let Some((at, why)) = refusal {
            let off = is_off(id, attributes);
            let severity = if off { Severity::Note } else { Severity::Warning };
            let comment = self.note(severity, &at, format!("not carried over: {why}"));
            let what = if id == block.name { id.to_owned() } else { format!("{id} ({})", block.name) };
            let off = if off { ", which was off" } else { "" };
            return Item::Comment(vec![comment, format!("service {what}{off}")]);
        }
        entry.disabled = is_off(id, attributes);
        for (at, name) in &attributes.ignored {
            self.once(&mut entry, at, format!("{name} has no effect in defaults, there or here"));
        }
        for (at, fault) in &attributes.faults {
            self.close(&mut entry, at, fault);
        }
        self.program(attributes, &mut entry);
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
        entry: &mut Entry,
    ) -> Result<(), (Span, String)> {
        let typed = attributes.word("port").unwrap_or(&block.name);
        let place = attributes.value("port").map_or(&block.at, |value| &value.at);
        let Some(port) = self.world.port(typed) else {
            return Err((
                place.clone(),
                format!("{typed} is no TCP port that this system knows the number of"),
            ));
        };
        let has = |flag: &str| attributes.words("flags").iter().any(|word| word.eq_ignore_ascii_case(flag));
        let (v4, v6) = (IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8]));
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
        let addresses = match addresses.is_empty() {
            false => addresses,
            true if has("IPv6") && only_v6 => vec![v6],
            true if has("IPv6") => vec![v4, v6],
            true => vec![v4],
        };
        entry.listen = addresses.iter().map(|&address| SocketAddr::new(address, port).to_string()).collect();
        Ok(())
    }

    fn program(&mut self, attributes: &Attributes, entry: &mut Entry) {
        let Some(server) = attributes.value("server") else { return };
        let arguments: Vec<&str> = attributes.words("server_args").iter().map(|word| &**word).collect();
        let program = server.words.first().map_or("", |word| &**word);
        let named = attributes.words("flags").iter().any(|flag| flag.eq_ignore_ascii_case("NAMEINARGS"));
        let started = match named {
            true => started(program, &arguments),
            false => started(program, &[&[program][..], &arguments[..]].concat()),
        };
        entry.keys.set("command", array(&started.command));
        if let Some(rules) = self.world.wrapper_rules.as_ref().filter(|_| started.wrapped) {
            // Whatever the flags say: tcpd itself asks them.
            let why = format!("tcpd asks {}, which has rules and is not asked here", rules.display());
            self.close(entry, &server.at, &why);
        }
        if started.wrapped {
            self.once(entry, &server.at, "tcpd is left out; its rules are not asked here".to_owned());
        }
        if let Some(name) = &started.other_name {
            let message = format!(
                "the program is started under its own name, not as {name}: \
                if it goes by its name, make a link of that name and write that"
            );
            let comment = self.note(Severity::Warning, &server.at, message);
            entry.comments.push(comment);
        }
        if let Some(user) = attributes.value("user") {
            let name = user.words.first().map_or("", |word| &**word);
            entry.keys.set("user", string(name));
            if name != "root"
                && !attributes.word("groups").is_some_and(|word| word.eq_ignore_ascii_case("yes"))
            {
                let message = "a program has all groups of its account here; xinetd takes those away \
                    that the account has besides its first, unless groups is yes";
                self.once(entry, &user.at, message.to_owned());
            }
        }
        if let Some(group) = attributes.word("group") {
            entry.keys.set("group", string(group));
        }
        let pair = |word: &String| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            (name.to_owned(), string(value))
        };
        if !attributes.words("env").is_empty() {
            // The last of a name counts; TOML takes each once.
            let mut pairs: Vec<(String, String)> = Vec::new();
            for (name, value) in attributes.words("env").iter().map(pair) {
                pairs.retain(|(known, _)| *known != name);
                pairs.push((name, value));
            }
            entry.keys.set("environment", table(pairs));
        }
        if let Some(names) = attributes.value("passenv") {
            entry.keys.set("inherit_environment", array(&names.words));
        }
    }
}

/// Why a block can't be a service here at all, and where that stands.
fn why_not(block: &Block, attributes: &Attributes) -> Option<(Span, String)> {
    let is =
        |name: &str, word: &str| attributes.words(name).iter().any(|typed| typed.eq_ignore_ascii_case(word));
    let at = |name: &str| attributes.value(name).map_or(&block.at, |value| &value.at).clone();
    let refused = |name: &str, why: &str| Some((at(name), why.to_owned()));
    if is("type", "INTERNAL") {
        return refused(
            "type",
            "services inside xinetd are not here; a program of the system may do the same",
        );
    }
    if is("type", "RPC") {
        return refused("type", "RPC services register with the port mapper, which is not done here");
    }
    if is("type", "TCPMUX") || is("type", "TCPMUXPLUS") {
        return refused("type", "services of the TCP multiplexer have no port of their own");
    }
    if attributes.value("socket_type").is_some() && !is("socket_type", "stream") {
        return refused("socket_type", "only streams are served, no datagrams");
    }
    if attributes.value("protocol").is_some() && !is("protocol", "tcp") {
        return refused("protocol", "only TCP is served");
    }
    if is("flags", "SENSOR") {
        return refused("flags", "a sensor serves nobody; its list of clients is not kept here");
    }
    if attributes.value("redirect").is_some() {
        return refused("redirect", "connections are not passed on; a program that connects can do it");
    }
    if is("wait", "yes") {
        return refused("wait", "wait hands the listening socket to the program, which is not done here");
    }
    if !is("wait", "no") {
        return refused("wait", "wait = no is missing, and xinetd does not serve without it");
    }
    if attributes.words("server").len() != 1 {
        return refused("server", "a server is missing");
    }
    None
}

fn is_off(id: &str, attributes: &Attributes) -> bool {
    let flag =
        |name: &str, word: &str| attributes.words(name).iter().any(|typed| typed.eq_ignore_ascii_case(word));
    let listed = |name: &str| attributes.words(name).iter().any(|typed| typed == id);
    flag("disable", "yes")
        || flag("flags", "DISABLE")
        || listed("disabled")
        || (attributes.value("enabled").is_some() && !listed("enabled"))
}
