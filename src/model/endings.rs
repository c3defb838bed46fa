//! What is ended, and what goes on by itself.

/// What becomes of sessions at a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// They are ended after the grace.
    End,
    /// They go on by themselves, as under inetd (Unix).
    Leave,
}

/// What becomes of processes that a program leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// They are ended with it.
    End,
    /// They go on, as under inetd (Unix).
    Leave,
}
