//! What happens to sessions at a stop, and to processes that a program leaves behind.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    End,
    /// They outlive the server, as under inetd (Unix).
    Leave,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    End,
    /// They keep running, as under inetd (Unix).
    Leave,
}
