//! Requests from the system to the server, and errors of the control channel.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRequest {
    Stop(StopRequest),
    Reload {
        /// For the log.
        why: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopRequest {
    /// For the log.
    pub why: &'static str,
    /// After this time the system kills the server.
    pub at_most: Option<std::time::Duration>,
}

/// Why a verb cannot reach a running server.
#[derive(Debug)]
pub enum ControlFault {
    Absent,
    NotPermitted(std::io::Error),
    Stranger {
        owner: String,
    },
    /// The name of the channel is invalid; a message.
    Name(String),
    Other(std::io::Error),
}
