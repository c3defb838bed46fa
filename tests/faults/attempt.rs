//! One fault, by whichever hand, and what is expected while it lasts.

use std::fmt;
use std::path::Path;

use testkit::Builder;
use testkit::faults::{Fault, Seen};

use super::points;

/// What is tried in one run.
#[derive(Debug, Clone)]
pub enum Attempt {
    /// Nothing: calls are counted.
    None,
    /// A point of the server's own fails.
    Point(Fault),
    /// The kernel's answer is changed by strace.
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

/// What is to be so after a fault, or while it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The service under the fault answers, after its pause at most.
    pub same: bool,
    /// The one beside it answers.
    pub other: bool,
    /// The control channel answers.
    pub control: bool,
    /// Every program that has ended is reaped.
    pub reaped: bool,
    /// A client may have to wait for ever, in the backlog.
    pub waits: bool,
}

impl Attempt {
    /// What is expected.
    pub fn expected(&self) -> Expected {
        match self {
            Attempt::None => Expected { same: true, other: true, control: true, reaped: true, waits: false },
            Attempt::Point(fault) => points::expected(fault),
            #[cfg(target_os = "linux")]
            Attempt::Traced(injection) => injection.expected(),
        }
    }

    /// The server with the fault. What happens is written to this file.
    pub fn of(&self, builder: Builder, seen: &Path) -> Builder {
        match self {
            Attempt::None => builder.with_faults(seen, None),
            Attempt::Point(fault) => builder.with_faults(seen, Some(fault)),
            #[cfg(target_os = "linux")]
            Attempt::Traced(injection) => injection.of(builder, seen),
        }
    }

    /// What happened.
    pub fn seen(&self, seen: &Path) -> Seen {
        match self {
            Attempt::None | Attempt::Point(_) => Seen::read(seen),
            #[cfg(target_os = "linux")]
            Attempt::Traced(_) => super::traced::read(seen),
        }
    }
}
