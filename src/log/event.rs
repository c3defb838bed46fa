//! Everything that is ever logged, as one type. The entries are in `event/table.rs`; here is what
//! makes code of them, the types of their fields, and the record of a connection.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::exit_status::ExitStatus;
use crate::model::ids::SessionId;
use crate::model::level::Level;
use crate::model::listen::Address;
use crate::model::peer::Peer;

/// What all events of one number have in common.
#[derive(Debug, Clone, Copy)]
pub struct EventKind {
    /// Its number in the log and in Event Viewer.
    pub id: u32,
    /// Its name in the `event` field; events of several numbers may share one.
    pub name: &'static str,
    /// How much it usually matters; [`LogEvent::level`] knows the exceptions.
    pub level: Level,
    /// Its fields, in the order of the log.
    pub fields: &'static [&'static str],
}

/// Makes code of the table: the type, the kinds, and the way from an event to its kind and
/// its fields. `build/main.rs` makes the Windows message file of the same table.
macro_rules! events {
    ($($id:literal $name:literal $level:ident $sentence:literal
       $variant:ident $({ $($field:ident: $type:ty),* })?)*) => {
        use super::*;

        /// Something that happened.
        #[derive(Debug, Clone)]
        pub enum LogEvent {
            $(#[doc = $sentence] $variant $({ $($field: $type),* })?,)*
        }

        #[allow(non_upper_case_globals, reason = "a kind is named as its events are")]
        impl EventKind {
            $(
                #[doc = $sentence]
                pub const $variant: EventKind = EventKind {
                    id: $id, name: $name, level: Level::$level, fields: &[$($(stringify!($field)),*)?],
                };
            )*
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant),*];
        }

        impl LogEvent {
            /// What this event has in common with others of its number.
            pub fn kind(&self) -> EventKind {
                match self {
                    $(LogEvent::$variant { .. } => EventKind::$variant,)*
                }
            }

            /// Shows the fields, in their order.
            pub fn fields(&self, show: Show<'_>) {
                match self {
                    $(LogEvent::$variant $({ $($field),* })? => {
                        $($($field.show(stringify!($field), show);)*)?
                    })*
                }
            }
        }
    };
}

mod table;

pub use table::LogEvent;

impl LogEvent {
    /// The one log entry in which a connection ends.
    pub fn session(record: Record) -> LogEvent {
        let record = Box::new(record);
        match record.outcome {
            Outcome::Served => LogEvent::Served { record },
            Outcome::Refused => LogEvent::Refused { record },
            Outcome::Failed => LogEvent::Failed { record },
        }
    }

    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            LogEvent::Configuration { level, .. } => *level,
            LogEvent::Failed { record } if record.left => Level::Info,
            event => event.kind().level,
        }
    }
}

/// The value of a field, as formats tell them apart.
#[derive(Debug, Clone, Copy)]
pub enum FieldValue<'a> {
    /// Text; in records some of it comes from outside.
    Text(&'a str),
    /// A count.
    Number(u64),
    /// A duration, shown in seconds.
    Seconds(Duration),
    /// A list of texts.
    List(&'a [String]),
}

/// Takes the name and the value of each field.
pub type Show<'a> = &'a mut dyn FnMut(&'static str, FieldValue<'_>);

/// The type of a field: what is shown of it under its name.
trait FieldType {
    fn show(&self, name: &'static str, show: Show<'_>);
}

macro_rules! fields {
    ($($type:ty: |$field:ident| $value:expr;)*) => {$(
        impl FieldType for $type {
            fn show(&self, name: &'static str, show: Show<'_>) {
                let $field = self;
                show(name, $value);
            }
        }
    )*};
}

fields! {
    &'static str: |text| FieldValue::Text(text);
    String: |text| FieldValue::Text(text);
    PathBuf: |path| FieldValue::Text(&path.to_string_lossy());
    Address: |address| FieldValue::Text(&address.to_string());
    Peer: |peer| FieldValue::Text(&peer.to_string());
    Vec<String>: |texts| FieldValue::List(texts);
    Duration: |duration| FieldValue::Seconds(*duration);
    u8: |number| FieldValue::Number((*number).into());
    u32: |number| FieldValue::Number((*number).into());
    u64: |number| FieldValue::Number(*number);
    usize: |number| FieldValue::Number(*number as u64);
    SessionId: |session| FieldValue::Number(session.0);
}

impl<T: FieldType> FieldType for Option<T> {
    fn show(&self, name: &'static str, show: Show<'_>) {
        if let Some(field) = self {
            field.show(name, show);
        }
    }
}

impl FieldType for Level {
    /// Every line begins with its level.
    fn show(&self, _: &'static str, _: Show<'_>) {}
}

impl FieldType for ExitStatus {
    fn show(&self, _: &'static str, show: Show<'_>) {
        match self {
            ExitStatus::Code(code) => code.show("exit", show),
            ExitStatus::Signal(signal) => signal.unsigned_abs().show("signal", show),
        }
    }
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

impl FieldType for Outcome {
    fn show(&self, name: &'static str, show: Show<'_>) {
        let word = match self {
            Outcome::Served => "served",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        };
        word.show(name, show);
    }
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

impl FieldType for Box<Record> {
    fn show(&self, _: &'static str, show: Show<'_>) {
        let fields: [(_, &dyn FieldType); 15] = [
            ("service", &self.service),
            ("session", &self.session),
            ("peer", &self.peer),
            ("client", &self.client),
            ("local", &self.local),
            ("user", &self.user),
            ("pid", &self.pid),
            ("outcome", &self.outcome),
            ("reason", &self.reason),
            ("step", &self.step),
            ("exit", &self.exit),
            ("seconds", &self.seconds),
            ("linger_seconds", &self.linger_seconds),
            ("bytes_in", &self.bytes_in),
            ("bytes_out", &self.bytes_out),
        ];
        for (name, field) in fields {
            field.show(name, show);
        }
    }
}
