//! Addresses of a service, and options of its listeners.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::plan::Stdio;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Tcp(SocketAddr),
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
    /// Whether this is the wildcard address of its family.
    pub fn is_all(&self) -> bool {
        matches!(self, Address::Tcp(address) if address.ip().is_unspecified())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Tcp(address)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocket {
    pub mode: u32,
    /// By name; `None` is the server's account.
    pub user: Option<String>,
    /// By name; `None` is the server's group.
    pub group: Option<String>,
    /// Whether clients may pass descriptors to the program (SCM_RIGHTS).
    pub pass_descriptors: bool,
}

impl Default for UnixSocket {
    fn default() -> Self {
        UnixSocket { mode: 0o660, user: None, group: None, pass_descriptors: false }
    }
}

/// TCP keepalive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    pub idle: Duration,
    pub interval: Duration,
    /// Unanswered probes before the connection ends. Windows always uses 10.
    pub probes: u32,
}

/// Detects a vanished client after two minutes.
pub const KEEPALIVE: Keepalive =
    Keepalive { idle: Duration::from_mins(1), interval: Duration::from_secs(10), probes: 6 };

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenOptions {
    pub unix: UnixSocket,
    pub keepalive: Option<Keepalive>,
    /// Whether a program gets the accepted socket itself. Where sockets are serial (Windows), it
    /// needs another kind of socket than the server's own I/O.
    pub stdio: Stdio,
}
