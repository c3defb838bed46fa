//! The decisions, without I/O and without a clock: functions of state, event
//! and `now` that return what to do. Tested in simulated time.

pub mod access;
pub mod admission;
pub mod backoff;
pub mod capacity;
pub mod ending;
mod entrance;
pub mod exhaustion;
pub mod explain;
pub mod firsts;
pub mod helper_queue;
pub mod idle;
pub mod lines;
pub mod logon;
pub mod peer;
pub mod proxy_header;
pub mod rate;
pub mod refusals;
pub mod reload;
mod room;
pub mod spawn_queue;
pub mod stop;
pub mod throttle;

pub use peer::{Peer, Source};

/// A service, counted over the life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub usize);

/// A session, counted from 1 over the life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);
