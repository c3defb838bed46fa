//! What the system asks of the server, and why a verb cannot reach it.

/// What the system wants of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRequest {
    /// To stop.
    Stop(StopRequest),
    /// To read the files again.
    Reload {
        /// What it was, for the log.
        why: &'static str,
    },
}

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopRequest {
    /// What it was, for the log.
    pub why: &'static str,
    /// The system ends us by force after this.
    pub at_most: Option<std::time::Duration>,
}

/// Why a running server can't be asked.
#[derive(Debug)]
pub enum ControlFault {
    /// No server is there.
    Absent,
    /// The system keeps us from it.
    NotPermitted(std::io::Error),
    /// A server is there that we do not trust.
    Stranger {
        /// Who runs it.
        owner: String,
    },
    /// No channel can have this name; in words.
    Name(String),
    /// Something else.
    Other(std::io::Error),
}
