//! An inetd.conf in the native form: a line a service.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::inetd_line::{Bounds, Family, Word, addresses, bounds, family, listed, owner, words};
use super::note;
use super::program::started;
use super::toml::{Document, Entry, Item, Keys, array, string};
use super::world::World;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;

/// inetd has no bound on programs at once. As many as that are none in practice,
/// and a bound all the same.
pub(super) const UNLIMITED: &str = "4096";

/// What inetd has unless told otherwise: starts in a minute, over which it closes
/// the service for ten.
const RATE: &str = "256/m";

/// The same services.
pub(super) fn convert(source: &Source, world: &World, notes: &mut Vec<Diagnostic>) -> Document {
    let text = String::from_utf8_lossy(&source.text);
    let freebsd = text.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        words.get(3).is_some_and(|word| word.starts_with("nowait/") || word.starts_with("wait/"))
    });
    let mut reader =
        Reader { source, world, notes, freebsd, hosts: Ok(Vec::new()), policy: None, said: HashSet::new() };
    let mut document =
        Document { head: head(source), server: server(), defaults: defaults(), ..Document::default() };
    for (start, line) in source.lines() {
        reader.line(start, line, &mut document.items);
    }
    document
}

fn head(source: &Source) -> Vec<String> {
    vec![
        format!("The native form of the inetd.conf {}.", source.path.display()),
        "docs/convert.md says what is carried over, what is not, and why.".to_owned(),
    ]
}

fn server() -> Keys {
    let mut keys = Keys::default();
    keys.explain("on_stop", string("leave"), "inetd leaves its programs alone when it stops");
    keys
}

fn defaults() -> Keys {
    let mut keys = Keys::default();
    keys.explain("stdio", string("socket"), "the connection itself");
    keys.explain("stderr", string("client"), "inetd makes no difference");
    keys.set("directory", string("/"));
    keys.explain("max_connections", UNLIMITED, "inetd has no bound; this is one that nobody should meet");
    keys.explain(
        "rate",
        string(RATE),
        "as inetd's -R, but only what is over it waits; inetd closes the service for ten minutes",
    );
    keys.set("when_full", string("wait"));
    keys
}

struct Reader<'a> {
    source: &'a Source,
    world: &'a World,
    notes: &'a mut Vec<Diagnostic>,
    /// A field of FreeBSD's was seen: `tcp` is IPv4 alone there.
    freebsd: bool,
    /// What a line with nothing but addresses said for those below it.
    hosts: Result<Vec<IpAddr>, String>,
    /// The IPsec policy for the lines below it.
    policy: Option<Range<usize>>,
    /// What is said once only.
    said: HashSet<&'static str>,
}

/// Why a line has no service, and where in it.
type Refusal = (Range<usize>, String);

impl Reader<'_> {
    fn note(&mut self, severity: Severity, range: &Range<usize>, message: impl Into<String>) -> String {
        note(self.notes, severity, self.source, range, message)
    }

    fn line(&mut self, start: usize, line: &[u8], items: &mut Vec<Item>) {
        let whole = start..start + line.len();
        let Ok(text) = std::str::from_utf8(line) else {
            if !line.starts_with(b"#") {
                let message = "not carried over: this line is not UTF-8, and a native file has to be";
                let comment = self.note(Severity::Warning, &whole, message);
                items.push(Item::Comment(vec![comment]));
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
        let words = words(start + offset, text);
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
            match self.service(&words, off) {
                Ok(entry) => items.push(Item::Service(entry)),
                Err((range, message)) => {
                    let comment =
                        self.note(Severity::Warning, &range, format!("not carried over: {message}"));
                    items.push(Item::Comment(vec![comment, text.trim().to_owned()]));
                }
            }
        }
    }

    /// BSD reads an indented line as the rest of the one before. What is missing
    /// there may be what made it safe.
    fn continued(&mut self, whole: &Range<usize>, items: &mut [Item]) {
        let message = "switched off: this line is indented, so it is the rest of the one before, \
            which has to be put together by hand";
        let comment = self.note(Severity::Warning, whole, message);
        match items.last_mut() {
            Some(Item::Service(entry)) => {
                entry.disabled = true;
                entry.comments.push(comment);
            }
            Some(Item::Comment(lines)) => lines.push(comment),
            None => {}
        }
    }

    fn service(&mut self, words: &[Word<'_>], off: bool) -> Result<Entry, Refusal> {
        let refused = |word: &Word<'_>, message: &str| Err((word.range(), message.to_owned()));
        let [name, socket_type, protocol, wait, user, program, arguments @ ..] = words else {
            let range = words[0].start..words[words.len() - 1].range().end;
            return Err((
                range,
                "this is no line of an inetd.conf: name, type, protocol, wait, user, program".to_owned(),
            ));
        };
        if protocol.text.starts_with("rpc/") {
            return refused(protocol, "RPC services register with the port mapper, which is not done here");
        }
        if socket_type.text != "stream" {
            return refused(socket_type, "only streams are served, no datagrams");
        }
        if program.text == "internal" {
            return refused(
                program,
                "services inside inetd are not here; a program of the system may do the same",
            );
        }
        if name.text.starts_with("tcpmux") {
            return refused(name, "services of the TCP multiplexer have no port of their own");
        }
        let Some(family) = family(protocol.text) else {
            return refused(protocol, "this protocol is not served");
        };
        let Some(bounds) = bounds(wait.text) else {
            return refused(
                wait,
                if wait.text.starts_with("wait") {
                    "wait hands the listening socket to the program, which is not done here"
                } else {
                    "nowait, and bounds behind it, were expected here"
                },
            );
        };
        let mut entry = Entry { disabled: off, ..Entry::default() };
        if family == Family::Unix {
            unix(name, &mut entry)?
        } else {
            self.tcp(name, family, &mut entry)?
        }
        self.program(program, arguments, &mut entry);
        self.identity(user, &mut entry);
        limits(&bounds, &mut entry);
        if protocol.text.contains("buf=") {
            let message = "buffer sizes are not carried over: the system finds better ones by itself";
            entry.comments.push(self.note(Severity::Note, &protocol.range(), message));
        }
        if let Some(policy) = self.policy.clone() {
            entry.disabled = true;
            let message =
                "switched off: the services below this line ask for IPsec, which is not asked for here";
            entry.comments.push(self.note(Severity::Warning, &policy, message));
        }
        Ok(entry)
    }

    fn tcp(&mut self, field: &Word<'_>, family: Family, entry: &mut Entry) -> Result<(), Refusal> {
        let (hosts, name) = addresses(field.text);
        let has_hosts = field.text.contains(':');
        let hosts = if has_hosts { hosts.map_err(str::to_owned) } else { self.hosts.clone() };
        let hosts = hosts.map_err(|host| {
            (field.range(), format!("{host} is no address; a name would have to be looked up at each start"))
        })?;
        let Some(port) = self.world.port(name) else {
            return Err((
                field.range(),
                format!("{name} is no TCP port that this system knows the number of"),
            ));
        };
        let (v4, v6) = (IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8]));
        let fits = |host: &&IpAddr| match family {
            Family::V4 => host.is_ipv4(),
            Family::V6 => host.is_ipv6(),
            _ => true,
        };
        let listen = match family {
            _ if !hosts.is_empty() => hosts.iter().filter(fits).copied().collect(),
            Family::V4 => vec![v4],
            Family::V6 => vec![v6],
            Family::Unsaid if self.freebsd => vec![v4],
            _ => vec![v4, v6],
        };
        if listen.is_empty() {
            return Err((field.range(), "these addresses are not of the protocol's family".to_owned()));
        }
        if family == Family::Unsaid && listen.contains(&v6) && self.said.insert("families") {
            let message = "tcp listens on IPv4 and IPv6, as in OpenBSD, and Debian since 2022; \
                if your inetd listens on IPv4 only, remove the [::] addresses";
            entry.comments.push(self.note(Severity::Note, &field.range(), message));
        }
        entry.name = name.to_owned();
        entry
            .keys
            .set("listen", array(listen.iter().map(|&address| SocketAddr::new(address, port).to_string())));
        Ok(())
    }

    fn program(&mut self, program: &Word<'_>, arguments: &[Word<'_>], entry: &mut Entry) {
        let texts: Vec<&str> = arguments.iter().map(|word| word.text).collect();
        let started = started(program.text, &texts);
        entry.keys.set("command", array(&started.command));
        let name = arguments.first().unwrap_or(program).range();
        if started.wrapped {
            let (severity, message) = match &self.world.wrapper_rules {
                Some(path) => {
                    entry.disabled = true;
                    let path = path.display();
                    let message = format!(
                        "switched off: tcpd asks {path}, which has rules and is not asked here: \
                        write them as allow and deny, then switch it on"
                    );
                    (Severity::Warning, message)
                }
                None => {
                    let message = "tcpd is left out; hosts.allow and hosts.deny have no rules on this system";
                    (Severity::Note, message.to_owned())
                }
            };
            entry.comments.push(self.note(severity, &program.range(), message));
        }
        if let Some(name_of) = &started.other_name {
            let message = format!(
                "the program is started under its own name, not as {name_of}: \
                if it goes by its name, make a link of that name and write that"
            );
            entry.comments.push(self.note(Severity::Warning, &name, message));
        }
        if let Some(quoted) = arguments.iter().find(|word| word.text.contains(['"', '\'', '\\'])) {
            let message = "quotes are carried as characters: some inetds take them away";
            entry.comments.push(self.note(Severity::Warning, &quoted.range(), message));
        }
    }

    fn identity(&mut self, field: &Word<'_>, entry: &mut Entry) {
        let owner = owner(field.text);
        entry.keys.set("user", string(owner.user));
        if let Some(group) = owner.group {
            entry.keys.set("group", string(group));
        }
        if owner.group.is_some() && !field.text.contains(':') {
            let message = "what is behind the dot was taken as a group";
            entry.comments.push(self.note(Severity::Note, &field.range(), message));
        }
        if let Some(class) = owner.class {
            let message =
                format!("the login class {class} is not carried over: write its limits as `limits`");
            entry.comments.push(self.note(Severity::Warning, &field.range(), message));
        }
    }
}

/// A path, on FreeBSD with `:user:group:mode:` before it.
fn unix(field: &Word<'_>, entry: &mut Entry) -> Result<(), Refusal> {
    let parts: Vec<&str> = field.text.splitn(5, ':').collect();
    let (path, owner) = match parts[..] {
        ["", user, group, mode, path] => (path, Some((user, group, mode))),
        _ => (field.text, None),
    };
    if !path.starts_with('/') {
        return Err((field.range(), "the path of a socket begins with /".to_owned()));
    }
    entry.name = path.rsplit('/').next().unwrap_or_default().to_owned();
    entry.keys.set("listen", string(&format!("unix:{path}")));
    let Some((user, group, mode)) = owner else {
        entry.keys.explain("socket_mode", string("0600"), "not said by inetd.conf: its owner alone");
        return Ok(());
    };
    if mode.is_empty() || u32::from_str_radix(mode, 8).is_err() {
        return Err((field.range(), format!("{mode} is no mode of a file")));
    }
    for (key, value) in [("socket_mode", mode), ("socket_user", user), ("socket_group", group)] {
        if !value.is_empty() {
            entry.keys.set(key, string(value));
        }
    }
    Ok(())
}

fn limits(bounds: &Bounds, entry: &mut Entry) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn convert_in(world: &World, text: &str) -> (String, Vec<Diagnostic>) {
        let mut notes = Vec::new();
        let source = Source::decode(Path::new("inetd.conf"), text.into());
        (convert(&source, world, &mut notes).render(), notes)
    }

    fn services(text: &str) -> String {
        let (text, _) = convert_in(&World::example(), text);
        text[text.find("when_full").unwrap()..].split_once("\n\n").unwrap_or_default().1.to_owned()
    }

    #[test]
    fn a_line_becomes_a_service_with_its_addresses_and_arguments() {
        let expected = "[service.finger]\nlisten = [\"0.0.0.0:79\"]\ncommand = [\"/bin/f\", \"-l\", 'a\\b']\n\
            user = \"nobody\"\ngroup = \"info\"\n";
        let text = services("finger stream tcp4 nowait nobody:info /bin/f f -l a\\b\n");
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn plain_tcp_is_both_families_unless_the_file_is_freebsds() {
        assert!(services("79 stream tcp nowait root /f f\n").contains("\"0.0.0.0:79\", \"[::]:79\""));
        let freebsd = services("79 stream tcp nowait/5/60/2 root /f f\n80 stream tcp nowait root /f f\n");
        assert!(!freebsd.contains("[::]"), "{freebsd}");
        assert!(
            freebsd.contains(
                "max_connections = 5\nmax_connections_per_source = 2\nrate_per_source = \"60/m\"\n"
            )
        );
    }

    #[test]
    fn addresses_stand_before_a_name_or_on_a_line_of_their_own() {
        let text =
            services("127.0.0.1:79 stream tcp nowait root /f f\n[::1]:\n80 stream tcp nowait root /f f\n");
        assert!(text.contains("[\"127.0.0.1:79\"]") && text.contains("[\"[::1]:80\"]"), "{text}");
    }

    #[test]
    fn a_line_that_update_inetd_switched_off_stays_off() {
        let text = services("#<off># ftp\tstream\ttcp4\tnowait\troot\t/f\tf\n# just a comment\n");
        assert!(text.starts_with("[service.ftp]\nenabled = false\n"), "{text}");
    }

    #[test]
    fn what_can_not_be_carried_is_a_comment_at_its_place() {
        let lines = [
            ("tftp dgram udp wait root /f f", 6),
            ("rusers/1-3 stream rpc/tcp nowait root /f f", 19),
            ("79 stream tcp wait root /f f", 15),
            ("echo stream tcp nowait root internal", 29),
            ("nosuch stream tcp nowait root /f f", 1),
            ("apples:79 stream tcp nowait root /f f", 1),
            ("79 stream sctp nowait root /f f", 11),
            ("this is no line", 1),
        ];
        for (line, column) in lines {
            let (text, notes) = convert_in(&World::example(), line);
            assert!(text.contains(&format!("# inetd.conf:1:{column}: not carried over: ")), "{text}");
            assert!(text.ends_with(&format!("# {line}\n")), "{text}");
            assert_eq!(notes.len(), 1);
        }
    }

    #[test]
    fn tcpd_gives_way_only_where_it_would_restrict_nothing() {
        let line = "79 stream tcp4 nowait nobody /usr/sbin/tcpd /opt/f -l\n";
        let text = services(line);
        assert!(text.contains("command = [\"/opt/f\", \"-l\"]") && !text.contains("enabled"), "{text}");
        let world = World { wrapper_rules: Some("/etc/hosts.deny".into()), ..World::default() };
        assert!(convert_in(&world, line).0.contains("[service.79]\nenabled = false\n"));
    }

    #[test]
    fn what_asked_for_ipsec_or_goes_on_in_the_next_line_is_switched_off() {
        let text = services(
            "#@ in ipsec ah/transport//require\n79 stream tcp4 nowait root /f f\n#@\n80 stream tcp4 nowait root /f f\n",
        );
        assert_eq!(text.matches("enabled = false").count(), 1, "{text}");
        assert!(services("79 stream tcp4 nowait root /f f\n   -s /safe\n").contains("enabled = false"));
    }

    #[test]
    fn a_socket_in_the_file_system_keeps_its_owner_and_mode() {
        let text =
            services(":u:g:660:/run/x stream unix nowait root /f f\n/run/y stream unix nowait root /f f\n");
        let first = "[service.x]\nlisten = \"unix:/run/x\"\nsocket_mode = \"660\"\nsocket_user = \"u\"\nsocket_group = \"g\"\n";
        assert!(text.contains(first), "{text}");
        assert!(text.contains("listen = \"unix:/run/y\"\nsocket_mode = \"0600\""), "{text}");
    }
}
