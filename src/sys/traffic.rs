//! Results of accepts, and of moving bytes on connections and pipes.

use std::io;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFault {
    /// The client left, or the network refused it. Continue at once: a pause would let one client
    /// slow all others.
    Connection,
    /// Out of descriptors or memory: pause.
    Exhausted,
    /// Close the listener and bind again.
    Listener,
}

/// The result of discarding a client's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    End,
    Empty,
    /// More bytes are available, but other sessions go first.
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Only bytes in order.
    pub received: u64,
    pub acknowledged: u64,
    /// Bytes sent to the client; `None` if the kernel does not report it.
    pub sent: Option<u64>,
    /// Time since the last data or acknowledgement arrived.
    pub quiet: Duration,
    /// The client sent end of file or a reset.
    pub end_received: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    Bytes(usize),
    End,
}

/// Which end of a direction failed.
#[derive(Debug)]
pub enum Broken {
    Source(io::Error),
    Sink(io::Error),
}
