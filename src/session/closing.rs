//! The record of a session that ends, and the connection that is still to close.

use std::time::Duration;

use super::Session;
use super::link::Link;
use crate::log::event::{Outcome, Record};
use crate::model::peer::Peer;

#[derive(Debug)]
pub(super) struct Closed {
    pub record: Record,
    /// The caller closes it after it has sent the record.
    pub link: Option<Link>,
}

impl Session {
    /// A record of this session as of now. The steps fill in the client, the exit and the counts.
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

    pub(super) fn named(&self, client: Peer) -> Option<Peer> {
        Some(client).filter(|client| *client != self.peer)
    }
}
