//! The client's address, and the source that limits count it under.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Inet(SocketAddr),
    /// A local user, through a Unix domain socket.
    Unix {
        /// User ID, if the system reports it.
        user: Option<u32>,
        /// Process ID, if the system reports it.
        process: Option<u32>,
    },
}

/// Clients of one source share the per-source limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientSource {
    V4([u8; 4]),
    /// The first 64 bits: one host usually has a whole /64.
    V6([u8; 8]),
    User(Option<u32>),
}

impl Peer {
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Inet(address) => Some(address.ip()),
            Peer::Unix { .. } => None,
        }
    }

    pub fn source(&self) -> ClientSource {
        match *self {
            Peer::Unix { user, .. } => ClientSource::User(user),
            Peer::Inet(address) => ClientSource::of(address.ip()),
        }
    }
}

impl ClientSource {
    pub fn of(ip: IpAddr) -> ClientSource {
        match ip.to_canonical() {
            IpAddr::V4(ip) => ClientSource::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                let [a, b, c, d] = [a, b, c, d].map(u16::to_be_bytes);
                ClientSource::V6([a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]])
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet(address) => address.fmt(formatter),
            Peer::Unix { user: Some(user), .. } => write!(formatter, "unix:uid={user}"),
            Peer::Unix { user: None, .. } => formatter.write_str("unix:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_of_one_64_prefix_are_one_source() {
        let source = |text: &str| ClientSource::of(text.parse().unwrap());
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }
}
