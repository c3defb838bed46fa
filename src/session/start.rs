//! Starts a session's program, or takes a warm one.

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

#[derive(Debug)]
pub struct RunningProgram {
    pub running: Running,
    pub ours: ServerEnds,
    pub errors: Option<Errors>,
}

#[derive(Debug)]
pub(super) struct Started {
    pub link: Link,
    pub client: Peer,
    /// Set if the program may leave the connection to other processes.
    pub connection: Option<connection::Id>,
    pub program: RunningProgram,
    pub is_probe: bool,
    /// The client chose values in the environment, so it can make the program fail.
    pub client_sets_values: bool,
}

pub(super) async fn start(
    session: &Session,
    passed: Passed,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Result<Started, Closed> {
    let variables = variables(session, &passed);
    let Passed { mut link, client, local, is_probe, secured, .. } = passed;
    let client_sets_values = secured.iter().any(|(name, _)| is_set_by_client(name));
    link.send_text(&session.service.banner).await;
    let leaves = session.service.program.leftovers == Leftovers::Leave;
    let connection = if leaves { link.id() } else { None };
    match program(session, link, (client, &local), variables, context, inbox).await {
        Ok((link, program)) => {
            Ok(Started { link, client, connection, program, is_probe, client_sets_values })
        }
        Err((error, link)) => {
            // Neither exhausted resources, which a client can cause, nor an order count as
            // failures.
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

/// Returns the connection and the program. On an error, returns the connection if it survives.
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
    let Some(link) = link else {
        return Err((SpawnError::new(Step::Stdio, "the connection is gone"), None));
    };
    let _ = introduce(service, &ours, client, local).await;
    let errors = Errors::of_program(service, Some(session.id), context);
    Ok((link, RunningProgram { running, ours, errors }))
}

impl RunningProgram {
    pub(super) async fn end(self, context: &SessionContext) {
        let Running { mut child, account, .. } = self.running;
        child.end_tree();
        let _ = child.wait(Leftovers::End).await;
        context.spawner.give_back(account);
    }
}

/// Returns [`STUCK_AFTER`] after an order to end, so that an ordinary start can finish. Without a
/// program there is no grace period.
pub(super) async fn is_too_late(inbox: &mut Inbox) -> &'static str {
    let ordered = inbox.wait_for(|told| told.order != Order::Serve).await.map(|told| told.order);
    tokio::time::sleep(STUCK_AFTER).await;
    match ordered {
        Ok(Order::End { why, .. }) => why.text(),
        Ok(Order::Leave { .. } | Order::Serve) | Err(_) => EndReason::Stop.text(),
    }
}

async fn waiting(session: &Session, context: &SessionContext) -> Option<RunningProgram> {
    let (reply, answer) = oneshot::channel();
    context.events.want_program(session.id, reply);
    answer.await.ok()
}

/// Writes a PROXY header to the program's input, if the service wants one.
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
