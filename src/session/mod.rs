//! The story of one connection, from the moment it is accepted to its record.

mod ending;
pub mod event;
pub mod flow;
pub mod helpers;
mod lent;
pub mod link;
mod prelude;
mod process;
mod pump;
mod scratch;
mod start;
pub mod warm;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::ending::EndReason;
use crate::core::helper_queue::Owner;
use crate::log::Log;
use crate::log::event::{Outcome, Record};
use crate::model::endings::Leftovers;
use crate::model::ids::{ServiceId, SessionId};
use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::Service;
use crate::session::helpers::Helpers;
use crate::spawn::Spawner;
use crate::spawn::environment::{self, is_set_by_client};
use crate::sys::net::Socket;
use crate::sys::{self, Counts, SpawnError, child, connection};
use crate::tls::Keys;
use ending::{Ended, wait};
use event::{Event, Events, Inbox, Instructions, Order, ServiceHealth, reached};
use flow::{Counted, Flow};
use link::Link;
use prelude::{Passed, Stopped};
pub use process::Process;
use pump::Pump;
pub use pump::StderrBudget;
use start::{NotStarted, Started};

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
    /// It is the probe that may end a pause of its service.
    pub is_probe: bool,
    /// The program's process.
    pub process: Arc<Process>,
    /// What we moved for it.
    pub flow: Arc<Flow>,
    /// Who counts what moves.
    pub counted: Counted,
}

/// What a session needs of the server.
#[derive(Debug, Clone)]
pub struct Context {
    /// Starts programs.
    pub spawner: Spawner,
    /// Where it tells what happens.
    pub events: Arc<dyn Events>,
    /// Where a program's standard error may go.
    pub log: Log,
    /// Make calls on connections that programs have had.
    pub ends: Helpers,
    /// Ask what moved on connections that programs have.
    pub looks: Helpers,
    /// How much of that the service's programs may write together.
    pub stderr_budget: StderrBudget,
    /// What the service needs for TLS, or why it is not there.
    pub keys: Option<Result<Keys, Arc<str>>>,
}

/// How a session ended.
#[derive(Debug)]
pub struct Served {
    /// What is written down of it.
    pub record: Record,
    /// The connection that is left to close, when everybody knows the
    /// rest: a client that sees the end may come again at once, and must find its
    /// place free.
    pub link: Option<Link>,
}

/// Serves one connection.
pub async fn serve(session: Session, socket: Socket, context: Context, mut inbox: Inbox) -> Served {
    let began = Instant::now();
    let mut record = session.record();
    if session.service.nodelay {
        // Best effort: a `unix:` connection has no such option, and a client that
        // is gone is the program's to find.
        let _ = socket.set_nodelay();
    }
    // (Boxed, as is the start: a session that serves has no room for what it has behind it.)
    let passed = match Box::pin(prelude::pass(&session, socket, &context, &mut inbox)).await {
        Ok(passed) => passed,
        Err((stopped, link)) => {
            record.stopped(stopped, &session, began);
            context.events.session(Event::Health(session.id, ServiceHealth::Unknown));
            return Served { record, link };
        }
    };
    record.client = Some(passed.client).filter(|client| *client != session.peer);
    let variables = session.variables(&passed);
    let Passed { mut link, client, local, mut is_probe, .. } = passed;
    let was_probe = is_probe;
    // Names that a client chose are in its program's environment.
    let set_by_client = passed.secured.iter().any(|(name, _)| is_set_by_client(name));
    link.send_text(&session.service.banner).await;
    let leaves = session.service.program.leftovers == Leftovers::Leave;
    let connection = if leaves { link.id() } else { None };
    let started = start::start(&session, link, (client, &local), variables, &context, &mut inbox);
    let started = Box::pin(started).await;
    let Started { mut link, mut running, ours, mut errors } = match started {
        Ok(started) => started,
        Err(NotStarted { error, link }) => {
            record.not_started(&error, began);
            // A client can fill a system up; that must not close the service for all. A start
            // that was cut short by an order says nothing either.
            let own = !sys::spawn::ran_out(&error) && inbox.borrow().order == Order::Serve;
            let fault = format!("{}: {}", error.step.name(), error.cause);
            let health = if own { ServiceHealth::Failed(fault) } else { ServiceHealth::Unknown };
            context.events.session(Event::Health(session.id, health));
            return Served { record, link };
        }
    };
    record.pid = Some(running.child.pid());
    session.process.began(running.child.pid());
    let (events, born) = (&context.events, running.born);
    let until;
    let (ended, cut) = {
        let mut pump = Pump::new(&mut link, ours, errors.as_mut(), &session.flow);
        let child = &mut running.child;
        let ended = wait(&session, &mut is_probe, child, &mut inbox, &context, &mut pump).await;
        context.spawner.give_back(running.account.take());
        record.seconds = began.elapsed();
        until = Instant::now() + session.service.times.linger_timeout;
        let health = if set_by_client {
            ServiceHealth::Works
        } else {
            ended.health(&session, &context, child, born).await
        };
        if is_probe == was_probe {
            events.session(Event::Health(session.id, health));
        }
        let cut = match ended {
            // Nobody listens where nothing moved for so long.
            Ended::Known { why: Some(why @ EndReason::Idle), .. } => Some(why.text()),
            Ended::Known { .. } => {
                // While there is something to move the session keeps its place, as it would
                // if its program had the connection and still wrote: cut short by
                // somebody who waits, the client would take what it has for all.
                let first = Instant::now() + LAST_WORD;
                let cut = match tokio::time::timeout_at(first, pump.finish()).await {
                    Ok(()) => None,
                    Err(_) => {
                        let finish = async {
                            pump.finish().await;
                            true
                        };
                        until_cut(finish, until, &mut inbox).await
                    }
                };
                events.session(Event::Lingers(session.id));
                cut
            }
            Ended::Left | Ended::Unknown(_) => None,
        };
        (ended, cut)
    };
    record.ended(&ended);
    match ended {
        Ended::Unknown(_) => {
            // A process may have it still: its options stay as they are.
            return Served { record, link: None };
        }
        Ended::Left => {
            running.child.leave();
            return Served { record, link: None };
        }
        // What the program left behind has the connection: it goes on with the client,
        // as under inetd.
        Ended::Known { why: None, .. } if is_left(connection, &session, &context).await => {
            record.reason = Some(LEFT.to_owned());
            return Served { record, link: None };
        }
        Ended::Known { .. } => {}
    }
    let cut = match cut {
        None if !session.service.times.linger_timeout.is_zero() => {
            // A client that resets has said that it wants no more.
            until_cut(link.linger(inbox.clone()), until, &mut inbox).await
        }
        cut => cut,
    };
    record.reason = record.reason.or(cut.map(str::to_owned));
    if let Some(counts) = last_counts(&link, &session, &**events, &mut inbox).await {
        record.bytes_in = Some(counts.received);
        // With a reset comes no acknowledgement of what arrived before it.
        record.bytes_out = if link.is_broken() { counts.sent } else { Some(counts.acknowledged) };
    }
    record.linger_seconds = began.elapsed() - record.seconds;
    Served { record, link: Some(link) }
}

/// Whether a process that the program left behind has the connection. Many descriptors
/// may have to be looked at, so a helper does it.
async fn is_left(connection: Option<connection::Id>, session: &Session, context: &Context) -> bool {
    let Some(connection) = connection else { return false };
    let looked = context.looks.run(session.owner(), move || child::leftovers_have(&connection));
    looked.await.unwrap_or(false)
}

/// The reason in the record of a connection that goes on without us.
const LEFT: &str = "left to itself";

/// What is in a program's pipe has this long to come out of it, also where the
/// session was to be gone already: on some systems that takes a turn of the loop.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Delivers what is left; says why if that was cut short, as `doing` does by `false`.
async fn until_cut(
    doing: impl Future<Output = bool>,
    until: Instant,
    inbox: &mut Inbox,
) -> Option<&'static str> {
    tokio::select! {
        biased;
        is_done = doing => (!is_done).then_some("linger cut"),
        () = tokio::time::sleep_until(until) => Some("linger timeout"),
        () = reached(inbox, Instructions::close_at) => Some("linger cut"),
    }
}

/// A connection that does not answer for so long makes no room for others.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// What moved on the connection. While some process keeps it from answering, the session
/// keeps its slot: connections that cannot be closed must not take all descriptors.
async fn last_counts(
    link: &Link,
    session: &Session,
    events: &dyn Events,
    inbox: &mut Inbox,
) -> Option<Counts> {
    let asked = link.counts(&session.counted);
    tokio::pin!(asked);
    if let Ok(counts) = tokio::time::timeout(ANSWERS_WITHIN, &mut asked).await {
        return counts;
    }
    events.session(Event::IsHeld(session.id));
    tokio::select! {
        counts = asked => counts,
        () = reached(inbox, Instructions::stop_at) => None,
    }
}

/// A client that is turned away has this long to read why.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// Delivers the word that a client was sent, and closes.
pub async fn refuse(socket: Socket) {
    let _ = tokio::time::timeout(REFUSED_WITHIN, socket.linger()).await;
}

impl Session {
    /// The owner of its calls on helper threads.
    pub fn owner(&self) -> Owner {
        Owner { service: self.service_id, session: self.id }
    }

    /// Its record, as far as it is known from the beginning.
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

    fn variables(&self, passed: &Passed) -> Vec<(OsString, OsString)> {
        let Passed { client, local, connections, secured, .. } = passed;
        environment::of_session(&self.service.name, self.id, *client, local, *connections, secured)
    }
}

impl Record {
    /// Nothing was started.
    fn stopped(&mut self, stopped: Stopped, session: &Session, began: Instant) {
        self.outcome = stopped.outcome;
        self.step = stopped.step;
        self.left = stopped.left;
        self.reason = Some(stopped.reason);
        self.client = stopped.client.filter(|client| *client != session.peer);
        self.seconds = began.elapsed();
    }

    fn not_started(&mut self, error: &SpawnError, began: Instant) {
        self.outcome = Outcome::Failed;
        self.step = Some(error.step.name());
        self.reason = Some(error.cause.clone());
        self.seconds = began.elapsed();
    }

    fn ended(&mut self, ended: &Ended) {
        match ended {
            Ended::Known { exit, why, .. } => {
                self.exit = Some(*exit);
                self.reason = why.map(|why| why.text().to_owned());
            }
            Ended::Left => self.reason = Some(LEFT.to_owned()),
            Ended::Unknown(why) => self.reason = Some(why.clone()),
        }
    }
}
