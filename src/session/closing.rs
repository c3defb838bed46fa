//! The record of a session: what is known from the beginning, and how it is closed.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use super::link::Link;
use super::prelude::Stopped;
use crate::log::event::{Outcome, Record};
use crate::model::exit_status::ExitStatus;
use crate::model::peer::Peer;
use crate::sys::{Counts, SpawnError};

/// A session after its last step.
#[derive(Debug)]
pub(super) struct Closed {
    pub closing: Closing,
    /// The connection that is left to close.
    pub link: Option<Link>,
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum Closing {
    /// In its header or handshake.
    Stopped(Stopped),
    /// Its program could not be started.
    NotStarted { client: Peer, error: SpawnError },
    /// After its program.
    Served(Served),
}

/// A session whose program ran.
#[derive(Debug)]
pub(super) struct Served {
    pub client: Peer,
    pub pid: u32,
    pub exit: Option<ExitStatus>,
    /// Why the server ended the program or cut its last bytes, if it did.
    pub reason: Option<String>,
    /// When the program ended.
    pub over: Instant,
    /// What became of the connection, unless it goes on without the server.
    pub delivered: Option<Delivered>,
}

/// A connection after its last bytes.
#[derive(Debug)]
pub(super) struct Delivered {
    pub at: Instant,
    pub counts: Option<Counts>,
    /// The client broke the connection.
    pub is_broken: bool,
}

impl Session {
    /// The record, as far as it is known from the beginning.
    pub fn record(&self) -> Record {
        Record {
            service: self.service.name.clone(),
            session: self.id,
            peer: self.peer,
            client: None,
            local: self.local.clone(),
            user: self.service.program.identity.as_ref().map(|credentials| credentials.user.to_string()),
            pid: None,
            outcome: Outcome::Served,
            reason: None,
            step: None,
            left: false,
            exit: None,
            seconds: Duration::ZERO,
            linger_seconds: Duration::ZERO,
            bytes_in: None,
            bytes_out: None,
        }
    }
}

impl Record {
    /// Closes the record of a session that began at this time.
    pub(super) fn close(self, began: Instant, closing: Closing) -> Record {
        let peer = self.peer;
        let named = |client: Peer| Some(client).filter(|client| *client != peer);
        let seconds = began.elapsed();
        match closing {
            Closing::Stopped(Stopped { outcome, step, reason, client, left }) => Record {
                outcome,
                step,
                left,
                reason: Some(reason),
                client: client.and_then(named),
                seconds,
                ..self
            },
            Closing::NotStarted { client, error } => Record {
                outcome: Outcome::Failed,
                step: Some(error.step.name()),
                reason: Some(error.cause),
                client: named(client),
                seconds,
                ..self
            },
            Closing::Served(Served { client, pid, exit, reason, over, delivered }) => {
                let counts = delivered.as_ref().and_then(|delivered| delivered.counts.as_ref());
                // With a reset comes no acknowledgement of what arrived before it.
                let is_broken = delivered.as_ref().is_some_and(|delivered| delivered.is_broken);
                Record {
                    client: named(client),
                    pid: Some(pid),
                    exit,
                    reason,
                    seconds: over - began,
                    linger_seconds: delivered.as_ref().map_or(Duration::ZERO, |end| end.at - over),
                    bytes_in: counts.map(|counts| counts.received),
                    bytes_out: counts
                        .and_then(|counts| if is_broken { counts.sent } else { Some(counts.acknowledged) }),
                    ..self
                }
            }
        }
    }
}
