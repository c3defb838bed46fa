//! Rates, times and limits of a program.

use std::fmt;
use std::time::Duration;

/// A rate such as `50/s`. A burst of `count` is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    pub per: Duration,
}

impl fmt::Display for Rate {
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

/// `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// In bytes: for the whole tree on Windows, per process on Unix, and on Linux for the tree too
    /// if a cgroup can count it.
    pub memory: Option<u64>,
    pub processes: Option<u32>,
    /// Per process on Unix, for the whole tree on Windows.
    pub cpu_time: Option<Duration>,
    pub open_files: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub idle_timeout: Option<Duration>,
    pub session_timeout: Option<Duration>,
    /// How long the server delivers a program's last bytes after its end.
    pub linger_timeout: Duration,
    /// How long after its request to end a program may run. Then the server terminates its tree.
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

pub const LINGER_TIMEOUT: Duration = Duration::from_mins(1);

pub const KILL_GRACE: Duration = Duration::from_secs(5);
