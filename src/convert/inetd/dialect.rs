//! What a protocol without more said means to the inetd that a file was written for. Inetds differ in
//! that, so the fields that only one of them has are looked for; docs/convert.md has the table.

use std::collections::HashSet;

use super::fields::{Family, addresses, family};
use crate::config::source::Source;
use crate::convert::world::World;

/// What the whole file tells about its inetd.
#[derive(Debug, Default)]
pub(super) struct Dialect {
    /// A field of FreeBSD's: `tcp` is IPv4 alone.
    pub freebsd: bool,
    /// Programs or transports of Solaris: `tcp` is IPv4 alone, `tcp6` both.
    pub solaris: bool,
    v4: HashSet<u16>,
    v6: HashSet<u16>,
}

impl Dialect {
    /// Looks at every line.
    pub(super) fn of(source: &Source, world: &World) -> Dialect {
        let mut found = Dialect::default();
        let (mut solaris_programs, mut tcpd) = (false, false);
        for (_, line) in source.lines() {
            let text = String::from_utf8_lossy(line);
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            // FreeBSD's own file has all of its services in comments.
            found.freebsd |=
                words.get(3).is_some_and(|word| word.starts_with("nowait/") || word.starts_with("wait/"));
            let [name, socket_type, protocol, _, _, program, ..] = words[..] else { continue };
            if text.starts_with(['#', ' ', '\t']) {
                continue;
            }
            found.solaris |= socket_type == "tli" || protocol.contains("ticots");
            solaris_programs |= program.starts_with("/usr/sbin/in.");
            tcpd |= program == "/usr/sbin/tcpd";
            let port = world.port(addresses(name).1).filter(|_| socket_type == "stream");
            let Some(port) = port else { continue };
            match family(protocol) {
                Some(Family::Unsaid | Family::V4 | Family::Both) => found.v4.insert(port),
                Some(Family::V6 | Family::OnlyV6) => found.v6.insert(port),
                Some(Family::Unix) | None => false,
            };
        }
        // Debian has tcpd there, and before programs of these names.
        found.solaris |= solaris_programs && !tcpd;
        found
    }

    /// Whether a line for this port says a protocol that takes IPv4 clients.
    pub(super) fn has_v4(&self, port: u16) -> bool {
        self.v4.contains(&port)
    }

    /// Whether a line for this port says that it is for IPv6.
    pub(super) fn has_v6(&self, port: u16) -> bool {
        self.v6.contains(&port)
    }
}
