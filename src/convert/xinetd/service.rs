//! A service of xinetd in the native form. What restricted it and can't be
//! carried over switches it off: it never opens wider than it was.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::access;
use super::attributes::{Attributes, Value};
use super::read::{Block, Span};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::plan::LONGEST_TEXT;
use crate::config::source::Source;
use crate::convert::inetd::UNLIMITED;
use crate::convert::inetd_line::listed;
use crate::convert::note;
use crate::convert::program::started;
use crate::convert::toml::{Entry, Item, array, string, table};
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

/// What restricts a service in ways that we have no key for.
const RESTRICTIONS: [(&str, &str); 1] = [("access_times", "there are no times of access here")];

/// What is not carried over and restricts nobody.
const HARMLESS: [(&str, &str); 11] = [
    ("log_on_success", "every connection has its record here"),
    ("log_on_failure", "every refusal has its record here"),
    ("log_type", "log_file in [server] and the system's log are for all services"),
    ("nice", "there are no priorities here"),
    ("max_load", "the load is not asked here; max_connections bounds it"),
    ("leaky_bucket", "rate bounds how often a connection begins"),
    ("mdns", "nothing is announced here"),
    ("rlimit_as", "limits.memory bounds memory"),
    ("rlimit_rss", "limits.memory bounds memory"),
    ("rlimit_stack", "there is no such limit here"),
    ("deny_time", "it belongs to sensors, and there are none here"),
];

/// What is read where it is needed, or has no meaning without something else.
const USED: [&str; 33] = [
    "access_times",
    "banner",
    "banner_fail",
    "banner_success",
    "bind",
    "cps",
    "disable",
    "disabled",
    "enabled",
    "env",
    "flags",
    "group",
    "groups",
    "id",
    "instances",
    "libwrap",
    "no_access",
    "only_from",
    "passenv",
    "per_source",
    "port",
    "protocol",
    "redirect",
    "rlimit_cpu",
    "rlimit_data",
    "rlimit_files",
    "server",
    "server_args",
    "socket_type",
    "type",
    "umask",
    "user",
    "v6only",
];

impl Reader<'_> {
    fn note(&mut self, severity: Severity, at: &Span, message: impl Into<String>) -> String {
        note(self.notes, severity, &self.sources[at.source], &at.range, message)
    }

    /// The service does not open wider than it was.
    fn close(&mut self, entry: &mut Entry, at: &Span, why: &str) {
        entry.disabled = true;
        entry.comments.push(self.note(Severity::Warning, at, format!("switched off: {why}")));
    }

    /// Something that is no one's harm, once.
    fn once(&mut self, entry: &mut Entry, at: &Span, message: String) {
        if self.said.insert(message.clone()) {
            entry.comments.push(self.note(Severity::Note, at, message));
        }
    }

    /// A block as a service, or as a comment that says why it is none.
    pub(super) fn service(&mut self, block: &Block, attributes: &Attributes) -> Item {
        let id = attributes.word("id").unwrap_or(&block.name);
        let mut entry = Entry { name: id.to_owned(), ..Entry::default() };
        let refusal = why_not(block, attributes).or_else(|| self.listen(block, attributes, &mut entry).err());
        if let Some((at, why)) = refusal {
            let comment = self.note(Severity::Warning, &at, format!("not carried over: {why}"));
            let what = if id == block.name { id.to_owned() } else { format!("{id} ({})", block.name) };
            let off = if is_off(id, attributes) { ", which was off" } else { "" };
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
                let wrong = |host: &str| {
                    (
                        bind.at.clone(),
                        format!("{host} is no address; a name would have to be looked up at each start"),
                    )
                };
                let [host] = &bind.words[..] else { return Err(wrong(&bind.words.join(" "))) };
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
        let listen = addresses.iter().map(|&address| SocketAddr::new(address, port).to_string());
        entry.keys.set("listen", array(listen));
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
            entry.keys.set("user", string(user.words.first().map_or("", |word| &**word)));
            if !attributes.word("groups").is_some_and(|word| word.eq_ignore_ascii_case("yes")) {
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

    fn access(&mut self, attributes: &Attributes, entry: &mut Entry) {
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

    fn flags(&mut self, block: &Block, attributes: &Attributes, entry: &mut Entry) {
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

    fn limits(&mut self, attributes: &Attributes, entry: &mut Entry) {
        let number = |value: &Value| {
            value.words.first().and_then(|word| word.parse::<u32>().ok()).filter(|&count| count > 0)
        };
        let unlimited = |value: &Value| value.words.first().is_some_and(|word| word == "UNLIMITED");
        for (name, key) in [("instances", "max_connections"), ("per_source", "max_connections_per_source")] {
            let Some(value) = attributes.value(name) else { continue };
            match number(value).filter(|_| value.words.len() == 1) {
                Some(count) => entry.keys.set(key, count.to_string()),
                None if unlimited(value) && name == "instances" => entry.keys.set(key, UNLIMITED),
                None if unlimited(value) => {}
                None => self.close(entry, &value.at, &format!("{name} is no number and not UNLIMITED")),
            }
        }
        if let Some(value) = attributes.value("cps") {
            match number(value).filter(|_| value.words.len() == 2) {
                Some(count) => entry.keys.set("rate", string(&format!("{count}/s"))),
                None => {
                    self.close(entry, &value.at, "cps has two numbers: connections a second, and a pause")
                }
            }
        }
        let mut limits = Vec::new();
        for (name, key, is_size) in [
            ("rlimit_data", "memory", true),
            ("rlimit_cpu", "cpu_time", false),
            ("rlimit_files", "open_files", false),
        ] {
            let Some(value) = attributes.value(name).filter(|value| !unlimited(value)) else { continue };
            let Some((count, unit)) = value.words.first().and_then(|word| amount(word, is_size)) else {
                self.close(entry, &value.at, &format!("{name} is no limit that can be read"));
                continue;
            };
            limits.push((
                key,
                match key {
                    "memory" => string(&format!("{count}{unit}")),
                    "cpu_time" => string(&format!("{count}s")),
                    _ => count.to_string(),
                },
            ));
        }
        if !limits.is_empty() {
            entry.keys.set("limits", table(limits));
        }
    }

    /// Banners are files there and texts here.
    fn texts(&mut self, attributes: &Attributes, entry: &mut Entry) {
        for (key, names) in [("refusal", ["banner", "banner_fail"]), ("banner", ["banner", "banner_success"])]
        {
            let mut text = String::new();
            for value in names.iter().filter_map(|name| attributes.value(name)) {
                let path = value.words.first().map_or("", |word| &**word);
                match short_text(path, LONGEST_TEXT - text.len()) {
                    Ok(more) => text.push_str(&more),
                    Err(why) => {
                        self.once(entry, &value.at, format!("the text of {path} is not carried over: {why}"))
                    }
                }
            }
            if !text.is_empty() {
                entry.keys.set(key, string(&text));
            }
        }
    }

    /// What has no key here: harmless, or a reason to stay closed.
    fn others(&mut self, attributes: &Attributes, entry: &mut Entry) {
        for (name, value) in attributes.names() {
            if let Some((_, why)) = HARMLESS.iter().find(|(known, _)| *known == name) {
                self.once(entry, &value.at, format!("{name} is not carried over: {why}"));
            } else if name != "wait" && !USED.contains(&name) {
                self.close(entry, &value.at, &format!("{name} is not known, nor what it restricts"));
            }
        }
        let Some(umask) = attributes.value("umask") else { return };
        match umask.words.first().and_then(|word| u32::from_str_radix(word, 8).ok()) {
            Some(0o022) => {}
            // Fewer bits take away less: the program's files stay closer.
            Some(mask) if mask & !0o022 == 0 => {
                self.once(entry, &umask.at, "umask is not carried over: a program has 022".to_owned());
            }
            _ => self.close(
                entry,
                &umask.at,
                "umask is not carried over: a program has 022, and its files would be open wider",
            ),
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

/// A number, with K or M behind it where it is a size.
fn amount(word: &str, is_size: bool) -> Option<(u64, &'static str)> {
    let (digits, unit) = match word.as_bytes().last()? {
        b'k' | b'K' if is_size => (&word[..word.len() - 1], "KiB"),
        b'm' | b'M' if is_size => (&word[..word.len() - 1], "MiB"),
        _ => (word, "B"),
    };
    Some((digits.parse().ok().filter(|&count| count > 0)?, unit))
}

/// A file's text, if it fits into what is sent to a client.
fn short_text(path: &str, most: usize) -> Result<String, String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let longest = u64::try_from(most).unwrap_or(0);
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(longest + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("more than {LONGEST_TEXT} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}
