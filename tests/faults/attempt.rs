//! One fault, injected by the server or by strace, and the behaviour to expect during it.

use std::fmt;
use std::path::Path;

use testkit::Builder;
use testkit::faults::{Fault, Seen};

use super::points;

#[derive(Debug, Clone)]
pub enum Attempt {
    None,
    Point(Fault),
    /// strace changes the result of a system call.
    #[cfg(target_os = "linux")]
    Traced(super::traced::Injection),
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attempt::None => formatter.write_str("nothing"),
            Attempt::Point(fault) => fault.fmt(formatter),
            #[cfg(target_os = "linux")]
            Attempt::Traced(injection) => injection.fmt(formatter),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The service under the fault answers, at the latest after its pause.
    pub same: bool,
    pub other: bool,
    pub control: bool,
    /// The server reaps every program that has ended.
    pub reaped: bool,
    /// Clients may wait in the backlog without end.
    pub waits: bool,
}

impl Attempt {
    pub fn expected(&self) -> Expected {
        match self {
            Attempt::None => Expected { same: true, other: true, control: true, reaped: true, waits: false },
            Attempt::Point(fault) => points::expected(fault),
            #[cfg(target_os = "linux")]
            Attempt::Traced(injection) => injection.expected(),
        }
    }

    /// Adds the fault to the server. `seen` is the file that records the passes.
    pub fn of(&self, builder: Builder, seen: &Path) -> Builder {
        match self {
            Attempt::None => builder.with_faults(seen, None),
            Attempt::Point(fault) => builder.with_faults(seen, Some(fault)),
            #[cfg(target_os = "linux")]
            Attempt::Traced(injection) => injection.of(builder, seen),
        }
    }

    pub fn seen(&self, seen: &Path) -> Seen {
        match self {
            Attempt::None | Attempt::Point(_) => Seen::read(seen),
            #[cfg(target_os = "linux")]
            Attempt::Traced(_) => super::traced::read(seen),
        }
    }
}
