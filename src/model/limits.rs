//! Rates, times and what a program may use.

use std::fmt;
use std::time::Duration;

/// So many in so long: `50/s`. As many may come at once as in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; at least one.
    pub count: u32,
    /// In how long; more than nothing.
    pub per: Duration,
}

impl fmt::Display for Rate {
    /// As it is typed.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count;
        match self.per.as_secs() {
            1 => write!(formatter, "{count}/s"),
            60 => write!(formatter, "{count}/m"),
            3600 => write!(formatter, "{count}/h"),
            _ => write!(formatter, "{count} in {:?}", self.per),
        }
    }
}

/// What a program may use. Each is without a limit unless given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory: of each process on Unix, of the whole tree on Windows.
    pub memory: Option<u64>,
    /// Processes of the tree at once.
    pub processes: Option<u32>,
    /// Processor time: of each process on Unix, of the whole tree on Windows.
    pub cpu_time: Option<Duration>,
    /// Descriptors of each process (Unix).
    pub open_files: Option<u64>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A connection on which nothing moved for so long is ended.
    pub idle_timeout: Option<Duration>,
    /// A connection that lasts for so long is ended.
    pub session_timeout: Option<Duration>,
    /// How long what a program wrote may take to be delivered after its end.
    pub linger_timeout: Duration,
    /// How long a program that was asked to end may take; then its tree is ended.
    pub kill_grace: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            idle_timeout: None,
            session_timeout: None,
            linger_timeout: LINGER_TIMEOUT,
            kill_grace: KILL_GRACE,
        }
    }
}

/// What a program wrote last has this long to be delivered.
pub const LINGER_TIMEOUT: Duration = Duration::from_mins(1);

/// A program that was asked to end has this long.
pub const KILL_GRACE: Duration = Duration::from_secs(5);
