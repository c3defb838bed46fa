//! The end of a session: its record, and the connection that is left to close.

use std::time::Duration;

use super::Session;
use super::link::Link;
use crate::log::event::{Outcome, Record};
use crate::model::peer::Peer;

/// A session after its last step.
#[derive(Debug)]
pub(super) struct Closed {
    pub record: Record,
    /// The connection that is left to close.
    pub link: Option<Link>,
}

impl Session {
    /// The record of a session that ends now, as far as that is known without its steps.
    pub fn record(&self) -> Record {
        Record {
            service: self.service.name.clone(),
            session: self.id,
            peer: self.peer,
            client: None,
            local: self.local.clone(),
            user: self.service.program.identity.as_ref().map(|credentials| credentials.user.to_string()),
            pid: self.process.pid(),
            outcome: Outcome::Served,
            reason: None,
            step: None,
            left: false,
            exit: None,
            seconds: self.began.elapsed(),
            linger_seconds: Duration::ZERO,
            bytes_in: None,
            bytes_out: None,
        }
    }

    /// The client, if another one than the peer.
    pub(super) fn named(&self, client: Peer) -> Option<Peer> {
        Some(client).filter(|client| *client != self.peer)
    }
}
