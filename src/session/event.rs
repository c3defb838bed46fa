//! Events and instructions between sessions and the supervisor, as plain data. Only a
//! [`WarmRequest`] carries a program with its descriptors.

use std::fmt::Debug;

use tokio::sync::watch;
use tokio::time::Instant;

use super::warm::WarmRequest;
use crate::core::ending::EndReason;
use crate::core::refusals::Reason;
use crate::log::event::Record;
use crate::model::ids::SessionId;
use crate::model::peer::Peer;

pub trait Events: Debug + Send + Sync {
    fn session(&self, event: SessionEvent);

    fn warm(&self, event: WarmEvent);

    /// A session asks for a warm program. The supervisor drops the request if it has none.
    fn want_program(&self, session: SessionId, request: WarmRequest);
}

#[derive(Debug)]
pub enum SessionEvent {
    /// A PROXY header named the client. The session waits for an answer.
    Named(SessionId, Peer),
    /// Header and handshake are done. The session waits for an answer.
    Passed(SessionId),
    /// What this session shows about its service. Sent once.
    Health(SessionId, ServiceHealth),
    /// The program is gone, and the kernel delivers its last bytes.
    Lingers(SessionId),
    /// A process prevents the server from closing the connection.
    IsHeld(SessionId),
    Ended(Box<Record>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceHealth {
    Works,
    /// The service failed for this reason, which no client can cause.
    Failed(String),
    /// As `Failed`, but exhausted resources may be the cause.
    FailedOrRanOut(String),
    /// No program ran, for a reason outside the service.
    Unknown,
}

/// Identifies a warm program. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WarmId(pub u64);

#[derive(Debug)]
pub enum WarmEvent {
    Waits(WarmId),
    Works(WarmId),
    Over(WarmId, Waited),
}

#[derive(Debug)]
pub enum Waited {
    Taken,
    /// The server ended the program, or the session that took it is gone.
    Gone,
    /// The program could not start, or ended at once.
    Failed {
        cause: String,
        /// The cause lies in this service, not in exhausted system resources.
        own: bool,
    },
    Ended,
}

/// All that the supervisor has told a session or warm program so far.
#[derive(Debug, Clone, Default)]
pub struct Instructions {
    pub order: Order,
    /// A client waits for this slot. A session that lingers or has no program yet ends at once.
    pub evicted: bool,
    /// Answers [`SessionEvent::Named`]: the number of connections of the client's source.
    pub named: Option<Result<usize, Reason>>,
    /// Answers [`SessionEvent::Passed`]: whether the session is the probe that may end a pause.
    pub passed: Option<Result<bool, Reason>>,
}

pub type Inbox = watch::Receiver<Instructions>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Serve,
    /// Ask at `ask`; kill the tree after the grace period or at `kill`, whichever comes first.
    /// Last bytes are delivered until the earlier of `ask` and `kill`.
    End {
        ask: Instant,
        /// Overrides the grace period.
        kill: Option<Instant>,
        why: EndReason,
    },
    /// The server stops and the program goes on.
    Leave {
        /// Last bytes are delivered until then.
        until: Instant,
    },
}

impl Order {
    pub fn ask_now(why: EndReason) -> Order {
        Order::End { ask: Instant::now(), kill: None, why }
    }

    /// When delivery of last bytes stops, and why.
    fn deadline(self) -> Option<(Instant, EndReason)> {
        match self {
            Order::Serve => None,
            Order::Leave { until } => Some((until, EndReason::Stop)),
            Order::End { ask, kill, why } => Some((kill.map_or(ask, |kill| kill.min(ask)), why)),
        }
    }

    pub(super) fn is_stop(self) -> bool {
        self.deadline().is_some_and(|(_, why)| why == EndReason::Stop)
    }
}

impl Instructions {
    pub(super) fn end_before_program(&self) -> Option<&'static str> {
        match self.order.deadline() {
            Some((_, why)) => Some(why.text()),
            None => self.evicted.then_some("made room"),
        }
    }

    pub(super) fn close_at(&self) -> Option<Instant> {
        if self.evicted {
            return Some(Instant::now());
        }
        self.order.deadline().map(|(at, _)| at)
    }

    pub(super) fn stop_at(&self) -> Option<Instant> {
        self.order.deadline().filter(|_| self.order.is_stop()).map(|(at, _)| at)
    }
}

/// Returns at the time that the current instructions give, or when the supervisor is gone.
pub(super) async fn reached(inbox: &mut Inbox, time: impl Fn(&Instructions) -> Option<Instant>) {
    loop {
        let at = time(&inbox.borrow_and_update());
        let changed = match at {
            None => inbox.changed().await,
            Some(at) => match tokio::time::timeout_at(at, inbox.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
        };
        if changed.is_err() {
            return;
        }
    }
}
