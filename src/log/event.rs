//! Everything that is ever logged, as one type: stable ids and names, the same
//! fields in every form.

use crate::model::level::Level;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::exit_status::ExitStatus;
use crate::model::ids::SessionId;
use crate::model::listen::Address;
use crate::model::peer::Peer;

/// A value of a field.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Text; in records some of it comes from outside.
    Text(&'a str),
    /// A count.
    Number(u64),
    /// A duration, shown in seconds.
    Seconds(Duration),
    /// A list of texts.
    List(&'a [String]),
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The server begins.
    Starting {
        /// The program's version.
        version: &'static str,
        /// The server's process.
        pid: u32,
        /// Where the configuration is.
        config: PathBuf,
    },
    /// Every listener is bound or being retried: clients are served.
    Ready {
        /// Every bound address.
        listen: Vec<String>,
        /// How many services there are.
        services: usize,
    },
    /// The start of a service has come to nothing. (A console is told directly.)
    StartFailed {
        /// Why, in as many lines as it takes.
        message: String,
        /// The exit code that says the same.
        exit: u8,
    },
    /// A finding about the configuration or the world, in words.
    Configuration {
        /// How much it matters.
        level: Level,
        /// `path:line:col: message`.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The host lacks an address family, so half of the sockets are not made.
    FamilyMissing {
        /// An address of that family.
        address: Address,
    },
    /// An address could not be bound and will be tried again.
    ListenFailed {
        /// The service.
        service: String,
        /// The address.
        address: Address,
        /// What the system said.
        cause: String,
        /// What to do about it.
        hint: Option<String>,
        /// When it is tried again.
        retry_seconds: Duration,
    },
    /// An address that could not be bound is bound now.
    ListenRecovered {
        /// The service.
        service: String,
        /// The address.
        address: Address,
    },
    /// Out of descriptors or memory: nobody is accepted until a session ends.
    AcceptPaused {
        /// What the system said.
        cause: String,
    },
    /// Clients are accepted again.
    AcceptResumed,
    /// The files are read again.
    Reloading {
        /// Who asked.
        reason: &'static str,
    },
    /// They were, and what they say holds.
    Reloaded {
        /// How many services there are now.
        services: usize,
        /// Names of those that are new.
        added: Vec<String>,
        /// Names of those that are gone.
        removed: Vec<String>,
        /// Names of those that say something else now.
        changed: Vec<String>,
    },
    /// They were, and what they said before still holds.
    ReloadFailed {
        /// Why, in as many lines as it takes.
        message: String,
    },
    /// A service fails by itself and is paused.
    ServicePaused {
        /// The service.
        service: String,
        /// How it failed.
        cause: String,
        /// For how long.
        pause_seconds: Duration,
    },
    /// It works again.
    ServiceResumed {
        /// The service.
        service: String,
    },
    /// Clients that were refused without a record of their own.
    Refusals {
        /// The service.
        service: String,
        /// Why, in one word.
        reason: &'static str,
        /// How many.
        count: u64,
    },
    /// A line that a program wrote to its standard error.
    Stderr {
        /// The service.
        service: String,
        /// The session; none before a program that was started ahead has a client.
        session: Option<SessionId>,
        /// The line.
        line: String,
    },
    /// Such lines that were too many for the log.
    StderrLost {
        /// The service.
        service: String,
        /// The session.
        session: Option<SessionId>,
        /// How many.
        lines: u64,
        /// The last of them.
        last: String,
    },
    /// A connection has come to its end. The record.
    Session(Box<Record>),
    /// A stop was requested.
    Stopping {
        /// By what.
        reason: &'static str,
        /// Sessions that go on for now.
        sessions: usize,
        /// How long they may.
        grace_seconds: Duration,
    },
    /// Everything is ended.
    Stopped,
    /// Lines that could not be written.
    LogLost {
        /// How many.
        lines: u64,
    },
    /// Something that should not be, in words.
    Fault {
        /// What.
        message: String,
    },
}

/// How a connection ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its program ran, whatever its exit code.
    Served,
    /// It was turned away.
    Refused,
    /// Its program could not be started.
    Failed,
}

/// The one log entry in which every accepted connection ends.
#[derive(Debug, Clone)]
pub struct Record {
    /// The service.
    pub service: String,
    /// The session.
    pub session: SessionId,
    /// Who connected.
    pub peer: Peer,
    /// For whom, where a PROXY header has named another.
    pub client: Option<Peer>,
    /// To which of our addresses.
    pub local: Address,
    /// As whom the program ran, if as another account.
    pub user: Option<String>,
    /// The program's process, if it ran.
    pub pid: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where the program did not just end.
    pub reason: Option<String>,
    /// The step that failed.
    pub step: Option<&'static str>,
    /// The client left before its program was started, as health checks do.
    pub left: bool,
    /// How the program ended.
    pub exit: Option<ExitStatus>,
    /// From the connection to the program's end.
    pub seconds: Duration,
    /// From there to the connection's.
    pub linger_seconds: Duration,
    /// Bytes from the client, where the system counts them.
    pub bytes_in: Option<u64>,
    /// Bytes to the client, where the system counts them.
    pub bytes_out: Option<u64>,
}

impl Event {
    /// The number of [`Event::StartFailed`].
    pub const START_FAILED: u32 = 5;
    /// The number of [`Event::Fault`].
    pub const FAULT: u32 = 41;

    /// Its number: an interface, never used again for something else.
    pub fn id(&self) -> u32 {
        match self {
            Event::Starting { .. } => 1,
            Event::Ready { .. } => 2,
            Event::Stopping { .. } => 3,
            Event::Stopped => 4,
            Event::StartFailed { .. } => Event::START_FAILED,
            Event::Reloading { .. } => 6,
            Event::Reloaded { .. } => 7,
            Event::ReloadFailed { .. } => 8,
            Event::Configuration { .. } => 10,
            Event::FamilyMissing { .. } => 20,
            Event::ListenFailed { .. } => 21,
            Event::ListenRecovered { .. } => 22,
            Event::AcceptPaused { .. } => 23,
            Event::AcceptResumed => 24,
            Event::Session(record) => match record.outcome {
                Outcome::Served => 30,
                Outcome::Refused => 31,
                Outcome::Failed => 32,
            },
            Event::Refusals { .. } => 33,
            Event::ServicePaused { .. } => 34,
            Event::ServiceResumed { .. } => 35,
            Event::Stderr { .. } => 36,
            Event::StderrLost { .. } => 37,
            Event::LogLost { .. } => 40,
            Event::Fault { .. } => Event::FAULT,
        }
    }

    /// Its name in the `event` field.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Starting { .. } => "starting",
            Event::Ready { .. } => "ready",
            Event::Stopping { .. } => "stopping",
            Event::Stopped => "stopped",
            Event::StartFailed { .. } => "start_failed",
            Event::Configuration { .. } => "configuration",
            Event::FamilyMissing { .. } => "family_missing",
            Event::ListenFailed { .. } => "listen_failed",
            Event::ListenRecovered { .. } => "listen_recovered",
            Event::AcceptPaused { .. } => "accept_paused",
            Event::AcceptResumed => "accept_resumed",
            Event::Reloading { .. } => "reloading",
            Event::Reloaded { .. } => "reloaded",
            Event::ReloadFailed { .. } => "reload_failed",
            Event::ServicePaused { .. } => "service_paused",
            Event::ServiceResumed { .. } => "service_resumed",
            Event::Refusals { .. } => "refusals",
            Event::Stderr { .. } => "stderr",
            Event::StderrLost { .. } => "stderr_lost",
            Event::Session(_) => "session",
            Event::LogLost { .. } => "log_lost",
            Event::Fault { .. } => "fault",
        }
    }

    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Event::Configuration { level, .. } => *level,
            Event::StartFailed { .. }
            | Event::ReloadFailed { .. }
            | Event::ListenFailed { .. }
            | Event::Fault { .. } => Level::Error,
            Event::AcceptPaused { .. }
            | Event::ServicePaused { .. }
            | Event::StderrLost { .. }
            | Event::LogLost { .. } => Level::Warning,
            Event::Session(record) if record.outcome == Outcome::Failed && !record.left => Level::Warning,
            _ => Level::Info,
        }
    }

    /// Its fields, in their order.
    pub fn fields(&self, field: &mut dyn FnMut(&'static str, Value<'_>)) {
        use Value::{List, Number, Seconds, Text};
        match self {
            Event::Starting { version, pid, config } => {
                field("version", Text(version));
                field("pid", Number((*pid).into()));
                field("config", Text(&config.to_string_lossy()));
            }
            Event::Ready { services, listen } => {
                field("services", Number(*services as u64));
                field("listen", List(listen));
            }
            Event::StartFailed { message, exit } => {
                field("message", Text(message));
                field("exit", Number((*exit).into()));
            }
            Event::Configuration { message, hint, .. } => {
                field("message", Text(message));
                optional(field, "hint", hint.as_deref());
            }
            Event::FamilyMissing { address } => field("address", Text(&address.to_string())),
            Event::ListenFailed { service, address, cause, hint, retry_seconds } => {
                field("service", Text(service));
                field("address", Text(&address.to_string()));
                field("cause", Text(cause));
                optional(field, "hint", hint.as_deref());
                field("retry_seconds", Seconds(*retry_seconds));
            }
            Event::ListenRecovered { service, address } => {
                field("service", Text(service));
                field("address", Text(&address.to_string()));
            }
            Event::AcceptPaused { cause } => field("cause", Text(cause)),
            Event::Reloading { reason } => field("reason", Text(reason)),
            Event::Reloaded { services, added, removed, changed } => {
                field("services", Number(*services as u64));
                field("added", List(added));
                field("removed", List(removed));
                field("changed", List(changed));
            }
            Event::ReloadFailed { message } => field("message", Text(message)),
            Event::ServicePaused { service, cause, pause_seconds } => {
                field("service", Text(service));
                field("cause", Text(cause));
                field("pause_seconds", Seconds(*pause_seconds));
            }
            Event::ServiceResumed { service } => field("service", Text(service)),
            Event::Refusals { service, reason, count } => {
                field("service", Text(service));
                field("reason", Text(reason));
                field("count", Number(*count));
            }
            Event::Stderr { service, session, line } => {
                field("service", Text(service));
                number(field, "session", session.map(|session| session.0));
                field("line", Text(line));
            }
            Event::StderrLost { service, session, lines, last } => {
                field("service", Text(service));
                number(field, "session", session.map(|session| session.0));
                field("lines", Number(*lines));
                field("last", Text(last));
            }
            Event::AcceptResumed | Event::Stopped => {}
            Event::Session(record) => record.fields(field),
            Event::Stopping { reason, sessions, grace_seconds } => {
                field("reason", Text(reason));
                field("sessions", Number(*sessions as u64));
                field("grace_seconds", Seconds(*grace_seconds));
            }
            Event::LogLost { lines } => field("lines", Number(*lines)),
            Event::Fault { message } => field("message", Text(message)),
        }
    }
}

fn optional(field: &mut dyn FnMut(&'static str, Value<'_>), name: &'static str, text: Option<&str>) {
    if let Some(text) = text {
        field(name, Value::Text(text));
    }
}

fn number(field: &mut dyn FnMut(&'static str, Value<'_>), name: &'static str, number: Option<u64>) {
    if let Some(number) = number {
        field(name, Value::Number(number));
    }
}

impl Record {
    fn fields(&self, field: &mut dyn FnMut(&'static str, Value<'_>)) {
        use Value::{Number, Seconds, Text};
        field("service", Text(&self.service));
        field("session", Number(self.session.0));
        field("peer", Text(&self.peer.to_string()));
        optional(field, "client", self.client.map(|client| client.to_string()).as_deref());
        field("local", Text(&self.local.to_string()));
        optional(field, "user", self.user.as_deref());
        number(field, "pid", self.pid.map(u64::from));
        let outcome = match self.outcome {
            Outcome::Served => "served",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        };
        field("outcome", Text(outcome));
        optional(field, "reason", self.reason.as_deref());
        optional(field, "step", self.step);
        match self.exit {
            Some(ExitStatus::Code(code)) => field("exit", Number(code.into())),
            Some(ExitStatus::Signal(signal)) => field("signal", Number(signal.unsigned_abs().into())),
            None => {}
        }
        field("seconds", Seconds(self.seconds));
        field("linger_seconds", Seconds(self.linger_seconds));
        number(field, "bytes_in", self.bytes_in);
        number(field, "bytes_out", self.bytes_out);
    }
}
