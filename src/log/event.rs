//! Every log event as one type. The entries are in `event/table.rs`. This file has the macro that
//! expands them, the field types, and the record of a connection.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::exit_status::ExitStatus;
use crate::model::ids::SessionId;
use crate::model::level::Level;
use crate::model::listen::Address;
use crate::model::peer::Peer;

#[derive(Debug, Clone, Copy)]
pub struct EventKind {
    pub id: u32,
    /// The value of the `event` field. Events with different IDs may share one name.
    pub name: &'static str,
    /// The usual level; [`LogEvent::level`] knows the exceptions.
    pub level: Level,
    pub fields: &'static [&'static str],
}

/// Generates code from the table: the enum, the kinds, and the mapping from an event to its kind
/// and fields. `build/main.rs` generates the Windows message file from the same table.
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
    pub fn session(record: Record) -> LogEvent {
        let record = Box::new(record);
        match record.outcome {
            Outcome::Served => LogEvent::Served { record },
            Outcome::Refused => LogEvent::Refused { record },
            Outcome::Failed => LogEvent::Failed { record },
        }
    }

    pub fn level(&self) -> Level {
        match self {
            LogEvent::Configuration { level, .. } => *level,
            LogEvent::Failed { record } if record.left => Level::Info,
            event => event.kind().level,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum FieldValue<'a> {
    /// Text, which may come from a client in records.
    Text(&'a str),
    Number(u64),
    Seconds(Duration),
    List(&'a [String]),
}

/// Takes the name and the value of each field.
pub type Show<'a> = &'a mut dyn FnMut(&'static str, FieldValue<'_>);

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
    /// Shows nothing, because every line begins with its level.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program ran. Its exit code does not matter.
    Served,
    Refused,
    /// The program could not be started.
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

/// The log entry of an accepted connection, at its end. In a flood, refused connections are
/// counted instead.
#[derive(Debug, Clone)]
pub struct Record {
    pub service: String,
    pub session: SessionId,
    pub peer: Peer,
    /// The client that a PROXY header named.
    pub client: Option<Peer>,
    pub local: Address,
    /// The account of the program, if it differs from the server's.
    pub user: Option<String>,
    pub pid: Option<u32>,
    pub outcome: Outcome,
    /// The reason, unless the program simply ended.
    pub reason: Option<String>,
    pub step: Option<&'static str>,
    /// The client left before its program was started, as health checks do.
    pub left: bool,
    pub exit: Option<ExitStatus>,
    /// From the connection to the end of the program.
    pub seconds: Duration,
    /// From the end of the program to the end of the connection.
    pub linger_seconds: Duration,
    /// Bytes from the client, if they are counted.
    pub bytes_in: Option<u64>,
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
