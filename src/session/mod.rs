//! The story of one connection, from the moment it is accepted to its record.

pub mod ending;
pub mod environment;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::plan::{Address, Service};
use crate::core::ending::Why;
use crate::core::{Peer, ServiceId, SessionId};
use crate::log::event::{Outcome, Record};
use crate::spawn::Spawner;
use crate::supervisor::{Event, OwnFault};
use crate::sys;
use crate::sys::net::Socket;
use ending::{Ended, ordered, wait};

/// An accepted connection that was admitted.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// What serves it.
    pub service: Arc<Service>,
    /// The service's number.
    pub service_id: ServiceId,
    /// Who connected, as accept said.
    pub peer: Peer,
    /// To which of our addresses.
    pub local: Address,
    /// How many connections its source has at this service.
    pub connections: usize,
    /// It tries whether a service that failed by itself works again.
    pub tries: bool,
    /// The program's process, once it runs.
    pub pid: Arc<OnceLock<u32>>,
}

/// What the supervisor tells a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Serve,
    /// Ask the program to end then, and end its tree when its grace is over or
    /// at that moment. Last bytes are delivered no longer than until then.
    End {
        /// When it is asked.
        ask: Instant,
        /// When its tree is ended, whatever its grace.
        kill: Option<Instant>,
        /// Why.
        why: Why,
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
    pub fn ask_now(why: Why) -> Order {
        Order::End { ask: Instant::now(), kill: None, why }
    }
}

/// Serves one connection and returns its record, and why its program failed by
/// itself, if it did.
pub async fn serve(
    session: Session,
    mut socket: Socket,
    spawner: Spawner,
    mut orders: watch::Receiver<Order>,
    supervisor: mpsc::UnboundedSender<Event>,
) -> (Record, Option<OwnFault>) {
    let began = Instant::now();
    let mut record = session.record();
    if !session.service.banner.is_empty() {
        // A client that is gone already is the program's to find.
        let _ = socket.send_text(&session.service.banner);
    }
    let variables = session.variables();
    let spawned = spawner.spawn(session.service_id, session.service.clone(), socket, variables).await;
    let mut running;
    (socket, running) = match spawned {
        Ok((socket, Ok(running))) => (socket, running),
        Ok((_, Err(error))) | Err(error) => {
            record.outcome = Outcome::Failed;
            record.step = Some(error.step.name());
            record.seconds = began.elapsed();
            // A client can fill a system up; that must not close the service for all.
            let own = !sys::spawn::ran_out(&error);
            let fault = own.then(|| OwnFault(format!("{}: {}", error.step.name(), error.cause)));
            record.reason = Some(error.cause);
            return (record, fault);
        }
    };
    record.pid = Some(running.child.pid());
    let _ = session.pid.set(running.child.pid());
    let ended = wait(&session, &mut running.child, &socket, &mut orders, &supervisor).await;
    spawner.give_back(running.account.take());
    record.seconds = began.elapsed();
    record.ended(&ended);
    let fault = ended.own_fault(&socket, &running.child);
    match ended {
        Ended::Unknown(_) => {
            // Some process may still have it.
            socket.abandon();
            return (record, fault);
        }
        Ended::Left => {
            running.child.leave();
            return (record, None);
        }
        Ended::Known { why: Some(Why::Idle), .. } => {}
        Ended::Known { .. } => {
            let _ = supervisor.send(Event::Lingers(session.id, fault.clone()));
            let cut = linger(&mut socket, session.service.times.linger_timeout, &mut orders).await;
            record.reason = record.reason.or(cut.map(str::to_owned));
            record.linger_seconds = began.elapsed() - record.seconds;
        }
    }
    if let Some(counts) = socket.counts() {
        record.bytes_in = Some(counts.received);
        record.bytes_out = Some(counts.acknowledged);
    }
    (record, fault)
}

/// Delivers what the program wrote last; says why if that was cut short.
async fn linger(
    socket: &mut Socket,
    timeout: Duration,
    orders: &mut watch::Receiver<Order>,
) -> Option<&'static str> {
    if timeout.is_zero() {
        return None;
    }
    tokio::select! {
        // A client that resets has said that it wants no more.
        _ = socket.linger() => None,
        () = tokio::time::sleep(timeout) => Some("linger timeout"),
        () = ordered(orders) => Some("linger cut"),
    }
}

/// A client that is turned away has this long to read why.
const TURNED_AWAY_WITHIN: Duration = Duration::from_secs(1);

/// Delivers the word that a client was sent, and closes.
pub async fn turn_away(mut socket: Socket) {
    let _ = tokio::time::timeout(TURNED_AWAY_WITHIN, socket.linger()).await;
}

impl Session {
    /// Its record, as far as it is known from the beginning.
    pub fn record(&self) -> Record {
        Record {
            service: self.service.name.clone(),
            session: self.id,
            peer: self.peer,
            local: self.local.clone(),
            user: self.service.program.identity.as_ref().map(|credentials| credentials.user.to_string()),
            pid: None,
            outcome: Outcome::Served,
            reason: None,
            step: None,
            exit: None,
            seconds: Duration::ZERO,
            linger_seconds: Duration::ZERO,
            bytes_in: None,
            bytes_out: None,
        }
    }

    fn variables(&self) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
        environment::of_session(&self.service.name, self.id, self.peer, &self.local, self.connections)
    }
}

impl Record {
    fn ended(&mut self, ended: &Ended) {
        match ended {
            Ended::Known { exit, why, .. } => {
                self.exit = Some(*exit);
                self.reason = why.map(|why| why.text().to_owned());
            }
            Ended::Left => self.reason = Some("left to itself".to_owned()),
            Ended::Unknown(why) => self.reason = Some(why.clone()),
        }
    }
}
