//! What to serve: immutable and valid by construction. Findings about accounts and programs are
//! separate, because they change while a plan is in use.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::command_line::CommandLine;
use super::endings::{Leftovers, OnStop};
use super::limits::{Limits, Rate, Times};
use super::listen::{Address, UnixSocket};
use crate::model::account::Credentials;
use crate::model::listen::Keepalive;
use crate::model::listen::ListenOptions;

#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub services: Vec<Arc<Service>>,
    pub server: Server,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The limit for all services together. `None`: what the descriptor limit allows.
    pub max_connections: Option<usize>,
    pub stop_grace: Duration,
    pub on_stop: OnStop,
    /// The command line overrides it.
    pub log_file: Option<PathBuf>,
    pub event_log: EventLogExtent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventLogExtent {
    Events,
    /// Also every record.
    All,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// For a classic line, its port.
    pub name: String,
    pub enabled: bool,
    pub listen: Vec<Address>,
    pub unix_socket: UnixSocket,
    pub keepalive: Option<Keepalive>,
    pub nodelay: bool,
    pub admit: Admit,
    /// The text for a refused client.
    pub refusal: Vec<u8>,
    pub banner: Vec<u8>,
    /// Trusted senders of PROXY headers. Every connection must begin with a header, and the server
    /// refuses other senders. `None` expects no header.
    pub proxy_protocol: Option<Vec<IpNet>>,
    /// `None` is clear text.
    pub tls: Option<Tls>,
    pub program: Program,
    pub warm: Option<Warm>,
    pub times: Times,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admit {
    pub access: Access,
    pub max_connections: usize,
    /// The server refuses a client over this limit.
    pub max_connections_per_source: Option<usize>,
    /// What happens to a client over `max_connections` or `rate`.
    pub when_full: WhenFull,
    pub rate: Option<Rate>,
    /// New connections of one source. The server refuses a client over this rate.
    pub rate_per_source: Option<Rate>,
}

/// Access rules for network clients. The most specific match decides, and `deny` wins a tie. For
/// Unix domain sockets the file mode decides instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// `None` allows every network.
    pub allow: Option<Vec<IpNet>>,
    pub deny: Vec<IpNet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It stays in the backlog until a slot is free.
    Wait,
    Refuse,
}

/// PEM files, read at the start and at each reload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The server's certificate, then its intermediate certificates.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificate authorities for client certificates. With it, every client needs a certificate.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of these authorities. Needs `client_ca`.
    pub crl: Option<PathBuf>,
}

/// Warm programs use pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warm {
    /// The number of waiting programs.
    pub programs: usize,
    /// Whether the program first reads a PROXY v1 line that names its client.
    pub header: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub command: CommandLine,
    /// `None` runs the program as the server's account.
    pub identity: Option<Credentials>,
    pub directory: PathBuf,
    /// Added to the inherited environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables to inherit by name. Without a list a program inherits all of the server's, or with
    /// an identity only `PATH`, `LANG`, `LC_*` and `TZ`.
    pub inherit_environment: Option<Vec<OsString>>,
    pub stdio: Stdio,
    pub stderr: Stderr,
    pub leftovers: Leftovers,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stdio {
    /// The connection itself is the streams.
    #[default]
    Socket,
    /// The streams are pipes, and the server relays the bytes.
    Pipe,
}

impl Stdio {
    pub fn name(self) -> &'static str {
        match self {
            Stdio::Socket => "socket",
            Stdio::Pipe => "pipe",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stderr {
    Client,
    Discard,
    /// Into the log, line by line.
    Log,
}

/// Default limit of a service. It is finite because each connection is a process.
pub const MAX_CONNECTIONS: usize = 256;

pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// The longest refusal or banner, in bytes. It fits into the send buffer of a new connection, so
/// sending it never blocks.
pub const LONGEST_TEXT: usize = 4096;

impl Service {
    pub fn has_pipes(&self) -> bool {
        self.program.stdio == Stdio::Pipe
    }

    /// Whether the server reads from a client before its program does.
    pub fn has_prelude(&self) -> bool {
        self.proxy_protocol.is_some() || self.tls.is_some()
    }

    pub fn listen_options(&self) -> ListenOptions {
        let (unix, keepalive) = (self.unix_socket.clone(), self.keepalive);
        ListenOptions { unix, keepalive, stdio: self.program.stdio }
    }

    /// Descriptors or handles per session: the connection, the program, and the server's pipe ends.
    pub fn descriptors(&self) -> usize {
        let pipes = if self.has_pipes() { 2 } else { 0 };
        let errors = if self.program.stderr == Stderr::Log { 1 } else { 0 };
        2 + pipes + errors
    }
}

impl Plan {
    pub fn enabled(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().filter(|service| service.enabled)
    }
}

impl Default for Server {
    fn default() -> Self {
        Server {
            max_connections: None,
            stop_grace: STOP_GRACE,
            on_stop: OnStop::End,
            log_file: None,
            event_log: EventLogExtent::Events,
        }
    }
}

impl Default for Admit {
    fn default() -> Self {
        Admit {
            access: Access::default(),
            max_connections: MAX_CONNECTIONS,
            max_connections_per_source: None,
            when_full: WhenFull::Wait,
            rate: None,
            rate_per_source: None,
        }
    }
}
