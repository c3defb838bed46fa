//! Starting a session's program, or taking one that waits for a client.

use std::ffi::OsString;
use std::io::ErrorKind;

use tokio::sync::oneshot;

use super::closing::Closed;
use super::event::{Inbox, Order, ServiceHealth, SessionEvent};
use super::lent::Lent;
use super::link::Link;
use super::prelude::Passed;
use super::pump::Errors;
use super::{Session, SessionContext};
use crate::core::ending::EndReason;
use crate::core::proxy_header;
use crate::core::spawn_queue::STUCK_AFTER;
use crate::log::event::{Outcome, Record};
use crate::model::endings::Leftovers;
use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::Service;
use crate::spawn::Running;
use crate::spawn::environment::{self, is_set_by_client};
use crate::spawn::stdio::ServerEnds;
use crate::sys::{self, SpawnError, Step, connection};

/// A program that runs.
#[derive(Debug)]
pub struct RunningProgram {
    pub running: Running,
    /// The server's ends of its pipes.
    pub ours: ServerEnds,
    /// What becomes of its standard error, if that is for the log.
    pub errors: Option<Errors>,
}

/// A program that runs for its client.
#[derive(Debug)]
pub(super) struct Started {
    pub link: Link,
    pub client: Peer,
    /// By what the connection is known among the descriptors of processes, if the program has
    /// it and may leave it to others.
    pub connection: Option<connection::Id>,
    pub program: RunningProgram,
    /// The session is the probe that may end a pause of its service.
    pub is_probe: bool,
    /// Names that the client chose are in the program's environment.
    pub client_sets_names: bool,
}

/// Starts the program, or takes one that waits.
pub(super) async fn start(
    session: &Session,
    passed: Passed,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Result<Started, Closed> {
    let variables = variables(session, &passed);
    let Passed { mut link, client, local, is_probe, secured, .. } = passed;
    let client_sets_names = secured.iter().any(|(name, _)| is_set_by_client(name));
    link.send_text(&session.service.banner).await;
    let leaves = session.service.program.leftovers == Leftovers::Leave;
    let connection = if leaves { link.id() } else { None };
    match program(session, link, (client, &local), variables, context, inbox).await {
        Ok((link, program)) => Ok(Started { link, client, connection, program, is_probe, client_sets_names }),
        Err((error, link)) => {
            // A client can fill a system up; that must not close the service for all. A start
            // that was cut short by an order says nothing either.
            let own = !sys::spawn::ran_out(&error) && inbox.borrow().order == Order::Serve;
            let fault = || format!("{}: {}", error.step.name(), error.cause);
            let health = if own { ServiceHealth::Failed(fault()) } else { ServiceHealth::Unknown };
            context.events.session(SessionEvent::Health(session.id, health));
            let record = Record {
                outcome: Outcome::Failed,
                step: Some(error.step.name()),
                reason: Some(error.cause),
                client: session.named(client),
                ..session.record()
            };
            Err(Closed { record, link })
        }
    }
}

fn variables(session: &Session, passed: &Passed) -> Vec<(OsString, OsString)> {
    let Passed { client, local, connections, secured, .. } = passed;
    environment::of_session(&session.service.name, session.id, *client, local, *connections, secured)
}

/// The connection, which the program may have had, and the program; or why there is none, and
/// the connection where it is left.
async fn program(
    session: &Session,
    link: Link,
    (client, local): (Peer, &Address),
    variables: Vec<(OsString, OsString)>,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Result<(Link, RunningProgram), (SpawnError, Option<Link>)> {
    let service = &session.service;
    if service.warm.is_some()
        && let Some(mut waited) = waiting(session, context).await
    {
        if introduce(service, &waited.ours, client, local).await.is_ok() {
            if let Some(errors) = &mut waited.errors {
                errors.serves(session.id);
            }
            return Ok((link, waited));
        }
        // It has ended, or it reads nothing: another one serves.
        waited.end(context).await;
    }
    let (socket, other) = match link {
        Link::Socket(socket) => (Some(socket), None),
        link => (None, Some(link)),
    };
    let cut = is_too_late(inbox);
    let spawned = context.spawner.spawn(session.service_id, service.clone(), socket, variables, cut).await;
    let lent = |socket| Link::Lent(Lent::new(socket, session.owner(), context.ends.clone()));
    let (link, running, ours) = match spawned {
        Ok((socket, Ok((running, ours)))) => (socket.map(lent).or(other), running, ours),
        Ok((socket, Err(error))) => return Err((error, socket.map(Link::Socket).or(other))),
        Err(error) => return Err((error, other)),
    };
    // What was given comes back.
    let Some(link) = link else {
        return Err((SpawnError::new(Step::Stdio, "the connection is gone"), None));
    };
    // One that reads nothing need not know.
    let _ = introduce(service, &ours, client, local).await;
    let errors = Errors::of_program(service, Some(session.id), context);
    Ok((link, RunningProgram { running, ours, errors }))
}

impl RunningProgram {
    /// Ends it: no session has a use for it.
    pub(super) async fn end(self, context: &SessionContext) {
        let Running { mut child, account, .. } = self.running;
        child.end_tree();
        let _ = child.wait(Leftovers::End).await;
        context.spawner.give_back(account);
    }
}

/// Returns when a start is not worth waiting for any more: the session was ordered to
/// end, and ordinary starts would have been done since. Without a program it needs no
/// grace period.
pub(super) async fn is_too_late(inbox: &mut Inbox) -> &'static str {
    let ordered = inbox.wait_for(|told| told.order != Order::Serve).await.map(|told| told.order);
    tokio::time::sleep(STUCK_AFTER).await;
    match ordered {
        Ok(Order::End { why, .. }) => why.text(),
        // The server ends.
        Ok(Order::Leave { .. } | Order::Serve) | Err(_) => EndReason::Stop.text(),
    }
}

/// A program that waits for a client, if one does.
async fn waiting(session: &Session, context: &SessionContext) -> Option<RunningProgram> {
    let (reply, answer) = oneshot::channel();
    context.events.want_program(session.id, reply);
    answer.await.ok()
}

/// Writes who the client is as the program's first input, where that is to be
/// so. Nothing was written to it before, so there is room.
async fn introduce(
    service: &Service,
    ours: &ServerEnds,
    client: Peer,
    local: &Address,
) -> std::io::Result<()> {
    let wanted = service.warm.is_some_and(|warm| warm.header);
    let Some(pipes) = ours.pipes.as_ref().filter(|_| wanted) else { return Ok(()) };
    let client = match client {
        Peer::Inet(client) => Some(client),
        Peer::Unix { .. } => None,
    };
    let local = match local {
        Address::Tcp(local) => Some(*local),
        Address::Unix(_) => None,
    };
    let line = proxy_header::line(client, local);
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        match pipes.input.try_write(rest) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => pipes.input.writable().await?,
            written => rest = &rest[written?..],
        }
    }
    Ok(())
}
