//! What to serve: immutable, and valid by construction. Findings about the
//! world (accounts, programs) are not part of it; they change while it holds.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::sys::command::Command;
use crate::sys::{Credentials, Keepalive};

/// Everything that one run of the server serves.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The services, in the order of the file.
    pub services: Vec<Arc<Service>>,
    /// How long sessions may go on after a request to stop.
    pub stop_grace: Duration,
}

/// Addresses to listen on, and what serves a connection.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name; a classic line's is its port.
    pub name: String,
    /// Where clients come in.
    pub listen: Vec<SocketAddr>,
    /// What serves them.
    pub command: Command,
    /// As whom; without one, as the server itself.
    pub identity: Option<Credentials>,
    /// The directory that the program starts in.
    pub directory: PathBuf,
    /// The most connections at once; more wait in the backlog.
    pub max_connections: usize,
    /// A connection on which nothing moved for so long is ended.
    pub idle_timeout: Option<Duration>,
    /// How long what a program wrote may take to be delivered after its end.
    pub linger_timeout: Duration,
    /// When silent clients are asked whether they are there.
    pub keepalive: Option<Keepalive>,
    /// Where its parts were typed.
    pub typed: Typed,
}

/// Where the parts of a service stand in its source, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// The port or address.
    pub listen: Range<usize>,
    /// The user and password.
    pub identity: Range<usize>,
    /// The command line.
    pub command: Range<usize>,
}

/// Connections of one service at once. Finite, because each is a process; as
/// many as no ordinary use needs.
pub const MAX_CONNECTIONS: usize = 256;

/// What a program wrote last has this long to be delivered.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(60);

/// Sessions go on for this long after a request to stop.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// A vanished client is found after two minutes: a minute of silence, then six
/// questions ten seconds apart.
pub const KEEPALIVE: Keepalive =
    Keepalive { idle: Duration::from_mins(1), interval: Duration::from_secs(10), probes: 6 };
