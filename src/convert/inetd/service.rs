//! Converts a line of an inetd.conf, or gives the reason why it has no native form.

use std::net::IpAddr;

use super::dialect::Dialect;
use super::fields::{Bounds, Family, addresses, bounds, family, owner};
use crate::config::diagnostic::Severity;
use crate::convert::account::{is_number, unnameable, write_group, write_user};
use crate::convert::program::started;
use crate::convert::reader::{DATAGRAMS, MULTIPLEXER, RPC, Refusal, ServiceReader, WAIT, WRITE_RULES};
use crate::convert::toml::{Item, TomlEntry, string};
use crate::convert::words::{ALL_V4, ALL_V6, Span, Word, listed, no_address, words};
use crate::model::listen::Address;

pub(super) struct InetdReader<'a> {
    pub reader: ServiceReader<'a>,
    pub dialect: Dialect,
    /// Addresses from a line that has nothing else. They apply to the lines below it.
    pub hosts: Result<Vec<IpAddr>, String>,
    /// The IPsec policy for the lines below it.
    pub policy: Option<Span>,
}

impl InetdReader<'_> {
    /// Reads one line, which begins at the byte `start`. Adds a service, or a comment with the
    /// reason why there is none, or keeps a setting for the lines below.
    pub(super) fn line(&mut self, start: usize, line: &[u8], items: &mut Vec<Item>) {
        let whole = Span { source: 0, range: start..start + line.len() };
        let Ok(text) = std::str::from_utf8(line) else {
            if !line.trim_ascii_start().starts_with(b"#") {
                let why = "this line is not UTF-8, and a native file has to be".to_owned();
                items.push(self.reader.refused(Severity::Warning, (whole, why), None));
            }
            return;
        };
        if let Some(policy) = text.strip_prefix("#@") {
            self.policy = (!policy.trim().is_empty()).then_some(whole);
            return;
        }
        let (offset, text, off) = match text.strip_prefix("#<off>#") {
            Some(rest) => (text.len() - rest.len(), rest, true),
            None => (0, text, false),
        };
        let words = words(0, start + offset, text);
        let Some(first) = words.first() else { return };
        if first.text.starts_with('#') {
            return;
        }
        if !off && text.starts_with([' ', '\t']) {
            self.continued(&whole, items);
        } else if let [Word { text: only, .. }] = words[..]
            && let Some(hosts) = only.strip_suffix(':')
        {
            self.hosts = listed(hosts).map_err(str::to_owned);
        } else {
            let item = self.service(&words, off).map(Item::Service).unwrap_or_else(|refusal| {
                let original = Some(text.trim().to_owned());
                self.reader.refused(Severity::Warning, refusal, original)
            });
            items.push(item);
        }
    }

    /// BSD reads an indented line as part of the line before, which it may restrict.
    fn continued(&mut self, whole: &Span, items: &mut [Item]) {
        let message = "switched off: this line is indented, so it is the rest of the one before, \
            which has to be put together by hand";
        let comment = self.reader.note(Severity::Warning, whole, message);
        match items.last_mut() {
            Some(Item::Service(entry)) => {
                entry.disabled = true;
                entry.comments.push(comment);
            }
            Some(Item::Comment(lines)) => lines.push(comment),
            None => {}
        }
    }

    fn service(&mut self, words: &[Word<'_>], off: bool) -> Result<TomlEntry, Refusal> {
        let refused = |word: &Word<'_>, why: &str| Err((word.span(), why.to_owned()));
        let [name, socket_type, protocol, wait, user, program, arguments @ ..] = words else {
            let range = words[0].start..words[words.len() - 1].range().end;
            let why = "this is no line of an inetd.conf: name, type, protocol, wait, user, program";
            return Err((Span { source: 0, range }, why.to_owned()));
        };
        let internal = "services inside inetd are not here; a program of the system may do the same";
        let reasons = [
            (protocol, protocol.text.starts_with("rpc/"), RPC),
            (socket_type, socket_type.text != "stream", DATAGRAMS),
            (program, program.text == "internal", internal),
            (name, name.text.starts_with("tcpmux"), MULTIPLEXER),
        ];
        if let Some((word, _, why)) = reasons.into_iter().find(|(_, applies, _)| *applies) {
            return refused(word, why);
        }
        let Some(family) = family(protocol.text) else {
            return refused(protocol, "this protocol is not served");
        };
        let Some(bounds) = bounds(wait.text) else {
            let waits = wait.text.starts_with("wait");
            return refused(
                wait,
                if waits { WAIT } else { "nowait, and bounds behind it, were expected here" },
            );
        };
        let typed = words[0].span();
        let mut entry = TomlEntry { disabled: off, typed, ..TomlEntry::default() };
        if family == Family::Unix {
            unix(name, &mut entry)?;
        } else {
            self.tcp(name, family, &mut entry)?;
        }
        self.program(program, arguments, &mut entry);
        self.identity(user, &mut entry)?;
        limits(&bounds, &mut entry);
        if protocol.text.contains("buf=") {
            let message = "buffer sizes are not carried over: the system chooses better ones";
            entry.comments.push(self.reader.note(Severity::Note, &protocol.span(), message));
        }
        if let Some(policy) = self.policy.clone() {
            let why = "the services below this line ask for IPsec, which is not asked for here";
            self.reader.switch_off(&mut entry, &policy, why);
        }
        Ok(entry)
    }

    fn tcp(&mut self, field: &Word<'_>, family: Family, entry: &mut TomlEntry) -> Result<(), Refusal> {
        let (hosts, name) = addresses(field.text);
        let has_hosts = field.text.contains(':');
        let hosts = if has_hosts { hosts.map_err(str::to_owned) } else { self.hosts.clone() };
        let hosts = hosts.map_err(|host| (field.span(), no_address(&host)))?;
        let port = self.reader.port(name, &field.span())?;
        let fits = |host: &&IpAddr| match family {
            Family::V4 => host.is_ipv4(),
            Family::V6 | Family::OnlyV6 => host.is_ipv6(),
            _ => true,
        };
        let listen = match hosts.is_empty() {
            true => self.all_addresses(family, port, &field.span(), entry),
            false => hosts.iter().filter(fits).copied().collect(),
        };
        if listen.is_empty() {
            return Err((field.span(), "these addresses are not of the protocol's family".to_owned()));
        }
        entry.name = name.to_owned();
        entry.listen_on(&listen, port);
        Ok(())
    }

    fn all_addresses(&mut self, family: Family, port: u16, at: &Span, entry: &mut TomlEntry) -> Vec<IpAddr> {
        let (v4, v6) = (ALL_V4, ALL_V6);
        let dialect = &self.dialect;
        let (listen, message) = match family {
            Family::V4 => (vec![v4], None),
            Family::Unsaid if dialect.freebsd || dialect.solaris => (vec![v4], None),
            Family::Unsaid if dialect.has_v6(port) => {
                (vec![v4], Some("tcp listens on IPv4 alone, since another line has tcp6 for this port"))
            }
            Family::Unsaid => {
                let message = "tcp listens on IPv4 and IPv6, as in Debian since 2022; OpenBSD, NetBSD, GNU and \
                    busybox listen on IPv4 alone: if your inetd does, remove the [::] addresses";
                (vec![v4, v6], Some(message))
            }
            Family::V6 if dialect.has_v4(port) => (vec![v6], None),
            Family::V6 if dialect.solaris => {
                let message = "tcp6 listens on IPv4 and IPv6, as in Solaris, which this file seems to be from: \
                    if it is not, remove the 0.0.0.0 addresses";
                (vec![v4, v6], Some(message))
            }
            Family::V6 => {
                let message = "tcp6 listens on IPv6 alone, as in Debian and the BSDs; GNU, busybox and Solaris \
                    take IPv4 clients as well: if your inetd does, add 0.0.0.0 with the port";
                (vec![v6], Some(message))
            }
            Family::OnlyV6 => (vec![v6], None),
            Family::Both | Family::Unix => (vec![v4, v6], None),
        };
        if let Some(message) = message {
            self.reader.once(entry, at, message);
        }
        listen
    }

    fn program(&mut self, program: &Word<'_>, arguments: &[Word<'_>], entry: &mut TomlEntry) {
        let texts: Vec<&str> = arguments.iter().map(|word| word.text).collect();
        let started = started(program.text, &texts);
        started.write(entry);
        let name = arguments.first().unwrap_or(program).span();
        let at = program.span();
        if started.wrapped && !self.reader.asks_rules(entry, &at, "tcpd", WRITE_RULES) {
            let message = "tcpd is left out; hosts.allow and hosts.deny have no rules on this system";
            self.reader.once(entry, &at, message);
        }
        if let Some(assumption) = started.assumption() {
            self.reader.warn(entry, &name, assumption);
        }
        if let Some(quoted) = arguments.iter().find(|word| word.text.contains(['"', '\'', '\\'])) {
            let message = "quotes are carried as characters: some inetds take them away";
            self.reader.warn(entry, &quoted.span(), message);
        }
    }

    fn identity(&mut self, field: &Word<'_>, entry: &mut TomlEntry) -> Result<(), Refusal> {
        let owner = owner(field.text);
        if let Some(why) = unnameable(owner.user) {
            return Err((field.span(), why));
        }
        if let Some(message) = write_user(entry, owner.user) {
            entry.comments.push(self.reader.note(Severity::Note, &field.span(), message));
        }
        if let Some(group) = owner.group {
            write_group(entry, group);
        }
        for number in [Some(owner.user), owner.group].into_iter().flatten().filter(|name| is_number(name)) {
            let message =
                format!("{number} is taken as a name, as inetd takes it: write the name if it is a number");
            self.reader.warn(entry, &field.span(), message);
        }
        if owner.group.is_some() && !field.text.contains(':') {
            let message = "the part after the dot was taken as a group";
            entry.comments.push(self.reader.note(Severity::Note, &field.span(), message));
        }
        if let Some(class) = owner.class {
            let message =
                format!("the login class {class} is not carried over: write its limits as `limits`");
            self.reader.warn(entry, &field.span(), message);
        }
        Ok(())
    }
}

/// A path, on FreeBSD preceded by `:user:group:mode:`.
fn unix(field: &Word<'_>, entry: &mut TomlEntry) -> Result<(), Refusal> {
    let parts: Vec<&str> = field.text.splitn(5, ':').collect();
    let (path, owner) = match parts[..] {
        ["", user, group, mode, path] => (path, Some((user, group, mode))),
        _ => (field.text, None),
    };
    if !path.starts_with('/') {
        return Err((field.span(), "the path of a socket begins with /".to_owned()));
    }
    entry.name = path.rsplit('/').next().unwrap_or_default().to_owned();
    entry.listen = vec![Address::Unix(path.into())];
    let Some((user, group, mode)) = owner else {
        entry.keys.explain("socket_mode", string("0600"), "not said by inetd.conf: its owner alone");
        return Ok(());
    };
    if mode.is_empty() || u32::from_str_radix(mode, 8).is_err() {
        return Err((field.span(), format!("{mode} is no mode of a file")));
    }
    for (key, value) in [("socket_mode", mode), ("socket_user", user), ("socket_group", group)] {
        if !value.is_empty() {
            entry.keys.set(key, string(value));
        }
    }
    Ok(())
}

fn limits(bounds: &Bounds, entry: &mut TomlEntry) {
    let numbers =
        [("max_connections", bounds.at_once), ("max_connections_per_source", bounds.at_once_per_source)];
    for (key, number) in numbers {
        if let Some(number) = number {
            entry.keys.set(key, number.to_string());
        }
    }
    for (key, number) in [("rate", bounds.a_minute), ("rate_per_source", bounds.a_minute_per_source)] {
        if let Some(number) = number {
            entry.keys.set(key, string(&format!("{number}/m")));
        }
    }
}
