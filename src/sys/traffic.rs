//! What happens to bytes on connections and pipes, and to connections at their accept.

use std::io;
use std::time::Duration;

/// Whose fault a failed accept is, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFault {
    /// The client's: it went away, or the network refused it. Go on at once; a
    /// pause here would let one client slow all others.
    Connection,
    /// The process or the system is out of descriptors or memory: wait.
    Exhausted,
    /// The listener's own: close it and bind again.
    Listener,
}

/// How far dropping what a client still sends has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// The client has ended its stream.
    End,
    /// Nothing is there for now.
    Empty,
    /// There is more, but others get their turn first.
    More,
}

/// What the kernel counted on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Bytes from the client that arrived in order.
    pub received: u64,
    /// Bytes to the client that it acknowledged.
    pub acknowledged: u64,
    /// Bytes to the client that were sent at all; `None` where nothing tells.
    pub sent: Option<u64>,
    /// Time since data last arrived, or an acknowledgement did.
    pub quiet: Duration,
    /// The client has ended its stream, by an end or by a reset.
    pub end_received: bool,
}

/// What one step of a direction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes.
    Bytes(usize),
    /// Its source has ended.
    End,
}

/// Why a direction can't go on.
#[derive(Debug)]
pub enum Broken {
    /// Where bytes came from.
    Source(io::Error),
    /// Where they went.
    Sink(io::Error),
}
