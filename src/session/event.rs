//! What sessions tell the supervisor, and what they hear from it. All of it is plain data,
//! but for the request that carries a program with its descriptors.

use std::fmt::Debug;

use tokio::sync::watch;
use tokio::time::Instant;

use super::warm::WarmRequest;
use crate::core::ending::EndReason;
use crate::core::refusals::Reason;
use crate::log::event::Record;
use crate::model::ids::SessionId;
use crate::model::peer::Peer;

/// Receives what sessions and waiting programs tell.
pub trait Events: Debug + Send + Sync {
    /// Something happened in a session.
    fn session(&self, event: SessionEvent);

    /// Something happened to a program that was started ahead.
    fn warm(&self, event: WarmEvent);

    /// A session takes a program that waits. The supervisor drops the request if none does.
    fn want_program(&self, session: SessionId, request: WarmRequest);
}

/// What a session tells the supervisor.
#[derive(Debug)]
pub enum SessionEvent {
    /// A PROXY header has named the client. The session waits for an answer.
    Named(SessionId, Peer),
    /// Header and handshake are done. The session waits for an answer.
    Passed(SessionId),
    /// What the session says of its service. Told once.
    Health(SessionId, ServiceHealth),
    /// The program is gone, and the system delivers its last bytes.
    Lingers(SessionId),
    /// Some process keeps the connection from being closed.
    IsHeld(SessionId),
    /// The session has ended. Its record names it.
    Ended(Box<Record>),
}

/// What a session says of its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceHealth {
    /// It works, as far as this session shows.
    Works,
    /// It failed by itself, for this reason, which no client can cause.
    Failed(String),
    /// The same, or other sessions have taken what all programs share.
    FailedOrRanOut(String),
    /// No program ran, for a reason that is not the service's.
    Unknown,
}

/// A program that was started ahead of its client, counted over the life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WarmId(pub u64);

/// What a program that was started ahead tells the supervisor.
#[derive(Debug)]
pub enum WarmEvent {
    /// It waits for its client.
    Waits(WarmId),
    /// It has waited for long enough to say that the service works.
    Works(WarmId),
    /// It waits no more.
    Over(WarmId, Waited),
}

/// What became of a program that waited.
#[derive(Debug)]
pub enum Waited {
    /// A session has it.
    Taken,
    /// The server ended it, or its session was gone.
    Gone,
    /// It could not be started, or ended at once.
    Failed {
        /// Why.
        cause: String,
        /// No other program of the system can have caused it.
        own: bool,
    },
    /// It ended by itself before a client came.
    Ended,
}

/// All that the supervisor has told a session or a waiting program so far.
#[derive(Debug, Clone, Default)]
pub struct Instructions {
    /// How long to serve.
    pub order: Order,
    /// A client waits for the slot: a session that lingers, or is still at its header or
    /// handshake, gives it up at once.
    pub evicted: bool,
    /// The answer to [`SessionEvent::Named`]: how many connections the client's source has, or why
    /// the client is refused.
    pub named: Option<Result<usize, Reason>>,
    /// The answer to [`SessionEvent::Passed`]: whether the session is the probe that may end a pause,
    /// or why its program may not start.
    pub passed: Option<Result<bool, Reason>>,
}

/// Where a session or a waiting program reads its instructions.
pub type Inbox = watch::Receiver<Instructions>;

/// How long to serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Until the program ends.
    #[default]
    Serve,
    /// Ask the program to end then, and end its tree when its grace is over or
    /// at that moment. Last bytes are delivered no longer than until then.
    End {
        /// When it is asked.
        ask: Instant,
        /// When its tree is ended, whatever its grace.
        kill: Option<Instant>,
        /// Why.
        why: EndReason,
    },
    /// Let the program go on by itself: the server ends. Last bytes are delivered
    /// until then.
    Leave {
        /// The server's end.
        until: Instant,
    },
}

impl Order {
    /// To end now, with its grace.
    pub fn ask_now(why: EndReason) -> Order {
        Order::End { ask: Instant::now(), kill: None, why }
    }

    /// When last bytes are delivered no longer, and why.
    fn deadline(self) -> Option<(Instant, EndReason)> {
        match self {
            Order::Serve => None,
            Order::Leave { until } => Some((until, EndReason::Stop)),
            Order::End { ask, kill, why } => Some((kill.map_or(ask, |kill| kill.min(ask)), why)),
        }
    }

    /// Whether the server stops.
    pub(super) fn is_stop(self) -> bool {
        self.deadline().is_some_and(|(_, why)| why == EndReason::Stop)
    }
}

impl Instructions {
    /// Why a session that has no program yet is to end, if it is.
    pub(super) fn end_before_program(&self) -> Option<&'static str> {
        match self.order.deadline() {
            Some((_, why)) => Some(why.text()),
            None => self.evicted.then_some("made room"),
        }
    }

    /// When the connection must be given up, whatever is left to deliver.
    pub(super) fn close_at(&self) -> Option<Instant> {
        if self.evicted {
            return Some(Instant::now());
        }
        self.order.deadline().map(|(at, _)| at)
    }

    /// When the server stops waiting for the session.
    pub(super) fn stop_at(&self) -> Option<Instant> {
        self.order.deadline().filter(|_| self.order.is_stop()).map(|(at, _)| at)
    }
}

/// Returns at the time that the instructions give, as they are by then. The supervisor's
/// end is the end of everything.
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
