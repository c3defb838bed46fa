//! What a session holds from its admission to its end: a slot, and until its program starts
//! a token of its service's rate.

use std::time::Duration;

use crate::model::ids::{ServiceId, SessionId};
use crate::model::peer::ClientSource;

/// A session that was admitted. It ends by `Admission::ended`, which takes the ticket. So
/// nothing can be given back twice, and a session without a start gives its token back.
#[must_use = "a ticket that is not given back holds its slot for ever"]
#[derive(Debug)]
pub struct Ticket {
    pub(super) session: SessionId,
    pub(super) service: ServiceId,
    /// Where the client comes from, once that is known.
    pub(super) source: Option<ClientSource>,
    /// How many connections that source had then.
    pub(super) connections: usize,
    pub(super) entered: Duration,
    /// No program has started: the service's rate gets its token back at the end.
    pub(super) owes_token: bool,
    pub(super) is_probe: bool,
}

impl Ticket {
    pub(super) fn new(session: SessionId, service: ServiceId, now: Duration) -> Self {
        Ticket {
            session,
            service,
            source: None,
            connections: 0,
            entered: now,
            owes_token: true,
            is_probe: false,
        }
    }

    /// The program starts.
    pub(super) fn starts(&mut self, is_probe: bool) {
        self.owes_token = false;
        self.is_probe = is_probe;
    }

    /// How many connections the client's source has at the service, itself among them; 0 while
    /// the source is not known.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Whether the session is the probe that may end a pause of its service.
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }
}
