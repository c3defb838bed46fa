//! Starting a session's program, or taking one that waits for a client.

use std::ffi::OsString;
use std::io::ErrorKind;

use tokio::sync::oneshot;

use super::event::{Inbox, Order};
use super::lent::Lent;
use super::link::Link;
use super::pump::Errors;
use super::warm::Ready;
use super::{Context, Session};
use crate::core::ending::EndReason;
use crate::core::proxy_header;
use crate::core::spawn_queue::STUCK_AFTER;
use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::{Service, Stderr};
use crate::spawn::Running;
use crate::spawn::stdio::ServerEnds;
use crate::sys::{SpawnError, Step};

/// A program that runs for its client.
#[derive(Debug)]
pub(super) struct Started {
    /// The client's connection.
    pub link: Link,
    /// The program.
    pub running: Running,
    /// Our ends of its pipes.
    pub ours: ServerEnds,
    /// What becomes of its standard error, if that is for the log.
    pub errors: Option<Errors>,
}

/// A program that was not started, and the connection that it was for.
#[derive(Debug)]
pub(super) struct NotStarted {
    /// Why.
    pub error: SpawnError,
    /// The client's connection, where it is left.
    pub link: Option<Link>,
}

/// Starts the program, for a client that came to one of our addresses.
pub(super) async fn start(
    session: &Session,
    link: Link,
    (client, local): (Peer, &Address),
    variables: Vec<(OsString, OsString)>,
    context: &Context,
    inbox: &mut Inbox,
) -> Result<Started, NotStarted> {
    let service = &session.service;
    if service.warm.is_some()
        && let Some(ready) = waiting(session, context).await
    {
        if introduce(service, &ready.ours, client, local).await.is_ok() {
            let Ready { running, ours, mut errors } = ready;
            if let Some(errors) = &mut errors {
                errors.serves(session.id);
            }
            return Ok(Started { link, running, ours, errors });
        }
        // It has ended, or it reads nothing: another one serves.
        ready.end(context).await;
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
        Ok((socket, Err(error))) => {
            return Err(NotStarted { error, link: socket.map(Link::Socket).or(other) });
        }
        Err(error) => return Err(NotStarted { error, link: other }),
    };
    // What was given comes back.
    let Some(link) = link else {
        return Err(NotStarted { error: SpawnError::new(Step::Stdio, "the connection is gone"), link: None });
    };
    // One that reads nothing need not know.
    let _ = introduce(service, &ours, client, local).await;
    let errors = (service.program.stderr == Stderr::Log).then(|| {
        Errors::new(
            context.log.clone(),
            service.name.clone(),
            Some(session.id),
            context.stderr_budget.clone(),
        )
    });
    Ok(Started { link, running, ours, errors })
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
async fn waiting(session: &Session, context: &Context) -> Option<Ready> {
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
