//! What to serve: immutable, and valid by construction. Findings about the
//! world (accounts, programs) are not part of it; they change while it holds.

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

/// Everything that one run of the server serves.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The services, in the order of the file.
    pub services: Vec<Arc<Service>>,
    /// What holds for all of them together.
    pub server: Server,
}

/// What holds for the server as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Connections of all services at once; without it as many as the
    /// descriptor limit leaves room for.
    pub max_connections: Option<usize>,
    /// How long sessions may go on after a request to stop.
    pub stop_grace: Duration,
    /// What becomes of sessions then.
    pub on_stop: OnStop,
    /// Where log lines go as well; an option of the command line wins over it.
    pub log_file: Option<PathBuf>,
    /// What the system's own log is told.
    pub event_log: EventLogExtent,
}

/// What the system's own log is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventLogExtent {
    /// Starts, stops, reloads, errors, first failures, sampled refusals.
    Events,
    /// Every record as well.
    All,
}

/// Addresses to listen on, and what serves a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name; a classic line's is its port.
    pub name: String,
    /// Whether it is served at all.
    pub enabled: bool,
    /// Where clients come in.
    pub listen: Vec<Address>,
    /// How its sockets in the file system are made.
    pub unix_socket: UnixSocket,
    /// When silent clients are asked whether they are there.
    pub keepalive: Option<Keepalive>,
    /// Whether its connections have TCP_NODELAY.
    pub nodelay: bool,
    /// Who gets in.
    pub admit: Admit,
    /// Sent to a client that does not.
    pub refusal: Vec<u8>,
    /// Sent to a client that does, before its program starts.
    pub banner: Vec<u8>,
    /// Whose PROXY header is believed; without a list none is expected. Every
    /// connection begins with one then, and other senders are refused.
    pub proxy_protocol: Option<Vec<IpNet>>,
    /// How clients are spoken to; without it in clear text.
    pub tls: Option<Tls>,
    /// What serves a connection.
    pub program: Program,
    /// Programs that are started ahead of their clients.
    pub warm: Option<Warm>,
    /// How long things may take.
    pub times: Times,
}

/// Who gets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admit {
    /// From where.
    pub access: Access,
    /// The most connections at once.
    pub max_connections: usize,
    /// The most connections at once from one source; over it a client is refused.
    pub max_connections_per_source: Option<usize>,
    /// What happens to a client over `max_connections` or `rate`.
    pub when_full: WhenFull,
    /// How often a connection may begin.
    pub rate: Option<Rate>,
    /// How often from one source; over it a client is refused.
    pub rate_per_source: Option<Rate>,
}

/// From where clients may come. The most specific match decides, `deny` wins a
/// tie. Clients of a socket in the file system are not asked: its mode is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Only from there; without it from everywhere.
    pub allow: Option<Vec<IpNet>>,
    /// Not from there.
    pub deny: Vec<IpNet>,
}

/// What happens to a client for whom there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It stays in the backlog until there is.
    Wait,
    /// It is refused.
    Refuse,
}

/// Files in PEM. What is in them is read at the start and at each reload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The server's certificate, then those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of client certificates. With it every client needs one.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of these authorities. Only beside `client_ca`.
    pub crl: Option<PathBuf>,
}

/// Programs that are started ahead of their clients. They have pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warm {
    /// How many wait at a time.
    pub programs: usize,
    /// Whether the first that such a program reads is a PROXY v1 line that
    /// names its client.
    pub header: bool,
}

/// What serves a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// What is started.
    pub command: CommandLine,
    /// As whom; without one, as the server itself.
    pub identity: Option<Credentials>,
    /// The directory that it starts in.
    pub directory: PathBuf,
    /// What its environment has besides.
    pub environment: Vec<(OsString, OsString)>,
    /// Names that it inherits; without a list all of them where it has no
    /// identity of its own, and none where it has one.
    pub inherit_environment: Option<Vec<OsString>>,
    /// How the connection becomes its streams.
    pub stdio: Stdio,
    /// Where its standard error goes.
    pub stderr: Stderr,
    /// What becomes of processes that it leaves behind.
    pub leftovers: Leftovers,
    /// What it may use.
    pub limits: Limits,
}

/// How a connection becomes a program's streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stdio {
    /// It is them.
    #[default]
    Socket,
    /// They are pipes, and the server moves the bytes.
    Pipe,
}

impl Stdio {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Stdio::Socket => "socket",
            Stdio::Pipe => "pipe",
        }
    }
}

/// Where standard error goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stderr {
    /// To the client, as standard output does.
    Client,
    /// Nowhere.
    Discard,
    /// Into the log, by lines.
    Log,
}

/// Connections of one service at once. Finite, because each is a process; as
/// many as no ordinary use needs.
pub const MAX_CONNECTIONS: usize = 256;

/// Sessions go on for this long after a request to stop.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// The longest text that is sent to a client by ourselves, in bytes. It fits
/// into the buffer of a new connection, so that sending it never waits.
pub const LONGEST_TEXT: usize = 4096;

impl Service {
    /// Whether its programs have pipes, by what was typed or what implies it: the
    /// server moves the bytes then.
    pub fn has_pipes(&self) -> bool {
        self.program.stdio == Stdio::Pipe
    }

    /// Whether something is read from a client before its program has it.
    pub fn has_prelude(&self) -> bool {
        self.proxy_protocol.is_some() || self.tls.is_some()
    }

    /// How its listeners are made.
    pub fn listen_options(&self) -> ListenOptions {
        let (unix, keepalive) = (self.unix_socket.clone(), self.keepalive);
        ListenOptions { unix, keepalive, stdio: self.program.stdio }
    }

    /// Descriptors or handles that a session holds: its connection, its program,
    /// our ends of its pipes.
    pub fn descriptors(&self) -> usize {
        let pipes = if self.has_pipes() { 2 } else { 0 };
        let errors = if self.program.stderr == Stderr::Log { 1 } else { 0 };
        2 + pipes + errors
    }

    /// Those of programs that wait for their clients.
    pub fn descriptors_of_waiting(&self) -> usize {
        self.warm.map_or(0, |warm| warm.programs * self.descriptors())
    }
}

impl Plan {
    /// The services that are served.
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
