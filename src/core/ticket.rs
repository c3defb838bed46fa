//! What a session holds: a slot, and its service's rate token until the program starts.

use std::time::Duration;

use crate::model::ids::{ServiceId, SessionId};
use crate::model::peer::ClientSource;

/// `Admission::ended` takes the ticket, so a slot is never released twice.
#[must_use = "a ticket that is not given back holds its slot for ever"]
#[derive(Debug)]
pub struct Ticket {
    pub(super) session: SessionId,
    pub(super) service: ServiceId,
    /// Known after the header, behind a proxy.
    pub(super) source: Option<ClientSource>,
    pub(super) connections: usize,
    pub(super) entered: Duration,
    /// No program has started, so the session's end returns the rate token.
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

    pub(super) fn starts(&mut self, is_probe: bool) {
        self.owes_token = false;
        self.is_probe = is_probe;
    }

    /// Includes this connection. 0 while the source is unknown.
    pub fn connections(&self) -> usize {
        self.connections
    }

    pub fn is_probe(&self) -> bool {
        self.is_probe
    }
}
