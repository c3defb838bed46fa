//! What a service listens on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::plan::Stdio;

/// Where clients come in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system (Unix).
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(formatter),
            Address::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Whether it stands for all addresses of its family.
    pub fn is_all(&self) -> bool {
        matches!(self, Address::Tcp(address) if address.ip().is_unspecified())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Tcp(address)
    }
}

/// How a socket in the file system is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocket {
    /// Its mode: who may connect.
    pub mode: u32,
    /// Its owner, by name; without one, the server.
    pub user: Option<String>,
    /// Its group, by name; without one, the server's.
    pub group: Option<String>,
}

impl Default for UnixSocket {
    /// For the server's own account and group.
    fn default() -> Self {
        UnixSocket { mode: 0o660, user: None, group: None }
    }
}

/// When a silent connection is asked whether its client is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// After this time without traffic,
    pub idle: Duration,
    /// then every so often,
    pub interval: Duration,
    /// and given up after this many without an answer (10 on Windows, always).
    pub probes: u32,
}

/// A vanished client is found after two minutes: a minute of silence, then six
/// questions ten seconds apart.
pub const KEEPALIVE: Keepalive =
    Keepalive { idle: Duration::from_mins(1), interval: Duration::from_secs(10), probes: 6 };

/// How a socket that listens is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// Mode and owner of a socket in the file system.
    pub unix: UnixSocket,
    /// When the system asks clients whether they are there.
    pub keepalive: Option<Keepalive>,
    /// Whether a program gets the accepted connection itself. Where sockets are serial,
    /// that needs another kind of socket than the server's own reads and writes.
    pub stdio: Stdio,
}
