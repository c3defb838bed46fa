//! The dialect of an inetd.conf, from fields that only one inetd has. A protocol such as `tcp`
//! means different address families in different inetds; `docs/convert.md` has the table.

use std::collections::HashSet;

use super::fields::{Family, addresses, family};
use crate::config::source::Source;
use crate::convert::world::World;

#[derive(Debug, Default)]
pub(super) struct Dialect {
    /// The file has a field of FreeBSD's inetd, where `tcp` is IPv4 only.
    pub freebsd: bool,
    /// The file has programs or transports of Solaris, where `tcp` is IPv4 only and `tcp6` both.
    pub solaris: bool,
    v4: HashSet<u16>,
    v6: HashSet<u16>,
}

impl Dialect {
    pub(super) fn of(source: &Source, world: &World) -> Dialect {
        let mut found = Dialect::default();
        let (mut solaris_programs, mut tcpd) = (false, false);
        for (_, line) in source.lines() {
            let text = String::from_utf8_lossy(line);
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            // Include comments: in FreeBSD's default file all services are comments.
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
        // Debian has programs with these names too, but starts them through tcpd.
        found.solaris |= solaris_programs && !tcpd;
        found
    }

    /// Whether a line for this port has a protocol that accepts IPv4 clients.
    pub(super) fn has_v4(&self, port: u16) -> bool {
        self.v4.contains(&port)
    }

    /// Whether a line for this port has an IPv6 protocol.
    pub(super) fn has_v6(&self, port: u16) -> bool {
        self.v6.contains(&port)
    }
}
