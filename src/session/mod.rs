//! The story of one connection, from the moment it is accepted to its record.

pub mod environment;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::plan::{Address, Service};
use crate::core::idle::{Idle, Look};
use crate::core::{Peer, ServiceId, SessionId};
use crate::log::event::{Outcome, Record};
use crate::spawn::{Running, Spawner};
use crate::supervisor::Event;
use crate::sys::Exit;
use crate::sys::net::Socket;

/// An accepted connection that was admitted.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// What serves it.
    pub service: Arc<Service>,
    /// The service's place in the plan.
    pub service_id: ServiceId,
    /// Who connected, as accept said.
    pub peer: Peer,
    /// To which of our addresses.
    pub local: Address,
    /// How many connections its source has at this service.
    pub connections: usize,
}

/// What the supervisor tells a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Serve,
    /// Be gone by then.
    EndBy(Instant),
}

/// Serves one connection and returns its record.
pub async fn serve(
    session: Session,
    socket: Socket,
    spawner: Spawner,
    mut orders: watch::Receiver<Order>,
    supervisor: mpsc::UnboundedSender<Event>,
) -> Record {
    let began = Instant::now();
    let mut record = session.record();
    let variables = session.variables();
    let spawned = spawner.spawn(session.service_id, session.service.clone(), socket, variables).await;
    let (mut socket, mut running) = match spawned {
        Ok((socket, Ok(running))) => (socket, running),
        Ok((_, Err(error))) | Err(error) => {
            record.outcome = Outcome::Failed;
            record.step = Some(error.step.name());
            record.reason = Some(error.cause);
            record.seconds = began.elapsed();
            return record;
        }
    };
    record.pid = Some(running.child.pid());
    let ended = wait(&mut running, &socket, session.service.times.idle_timeout, &mut orders).await;
    spawner.give_back(running.account.take());
    record.seconds = began.elapsed();
    record.ended(&ended);
    if !matches!(ended, Ended::Idle(_) | Ended::Unknown(_)) {
        let _ = supervisor.send(Event::Lingers(session.id));
        let cut = linger(&mut socket, session.service.times.linger_timeout, &mut orders).await;
        record.reason = record.reason.or(cut.map(str::to_owned));
        record.linger_seconds = began.elapsed() - record.seconds;
    }
    if matches!(ended, Ended::Unknown(_)) {
        // Some process may still have it.
        socket.abandon();
        return record;
    }
    if let Some(counts) = socket.counts() {
        record.bytes_in = Some(counts.received);
        record.bytes_out = Some(counts.acknowledged);
    }
    record
}

/// How the time with the program ended.
enum Ended {
    /// By itself.
    ByItself(Exit),
    /// By us, because nothing moved.
    Idle(Exit),
    /// By us, because somebody said so.
    Ordered(Exit),
    /// We could not find out. The reason.
    Unknown(String),
}

/// Waits for the program's end and its whole tree's, or brings it about.
async fn wait(
    running: &mut Running,
    socket: &Socket,
    idle_timeout: Option<Duration>,
    orders: &mut watch::Receiver<Order>,
) -> Ended {
    enum Why {
        Ended(std::io::Result<Exit>),
        Idle,
        Ordered,
    }
    let why = tokio::select! {
        exit = running.child.wait() => Why::Ended(exit),
        () = idle(socket, idle_timeout) => Why::Idle,
        () = ordered(orders) => Why::Ordered,
    };
    if !matches!(why, Why::Ended(_)) {
        running.child.end_tree();
    }
    let exit = match why {
        Why::Ended(exit) => return exit.map_or_else(Ended::unknown, Ended::ByItself),
        Why::Idle | Why::Ordered => running.child.wait().await,
    };
    match (why, exit) {
        (_, Err(error)) => Ended::unknown(error),
        (Why::Idle, Ok(exit)) => Ended::Idle(exit),
        (_, Ok(exit)) => Ended::Ordered(exit),
    }
}

impl Ended {
    // By value, for map_or_else.
    #[allow(clippy::needless_pass_by_value)]
    fn unknown(error: std::io::Error) -> Ended {
        Ended::Unknown(format!("waiting for the program: {error}"))
    }
}

/// Returns when the connection is idle for the timeout; never without one.
async fn idle(socket: &Socket, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return std::future::pending().await };
    let began = Instant::now();
    let mut idle = Idle::new(timeout);
    loop {
        let Some(counts) = socket.counts() else { return std::future::pending().await };
        match idle.look(began.elapsed(), (counts.received, counts.acknowledged), counts.quiet) {
            Look::Again(rest) => tokio::time::sleep(rest).await,
            Look::End => return,
        }
    }
}

/// Returns when the session must be gone.
async fn ordered(orders: &mut watch::Receiver<Order>) {
    loop {
        let order = *orders.borrow_and_update();
        let changed = match order {
            Order::Serve => orders.changed().await,
            Order::EndBy(deadline) => match tokio::time::timeout_at(deadline, orders.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
        };
        if changed.is_err() {
            // The supervisor is gone, and with it everything.
            return;
        }
    }
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
        let (exit, reason) = match ended {
            Ended::ByItself(exit) => (Some(*exit), None),
            Ended::Idle(exit) => (Some(*exit), Some("idle".to_owned())),
            Ended::Ordered(exit) => (Some(*exit), Some("stop".to_owned())),
            Ended::Unknown(why) => (None, Some(why.clone())),
        };
        self.exit = exit;
        self.reason = reason;
    }
}
