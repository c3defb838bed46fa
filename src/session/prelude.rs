//! The PROXY header and the TLS handshake. A session has no program before both are done.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::time::Instant;

use super::closing::Closed;
use super::delivery::REFUSED_WITHIN;
use super::event::{Inbox, Instructions, ServiceHealth, SessionEvent};
use super::flow::Flow;
use super::link::{self, Link};
use super::pump::Network;
use super::{Session, SessionContext};
use crate::core::ending::EndReason;
use crate::core::proxy_header::{self, LONGEST, Named, Progress};
use crate::core::refusals::Reason;
use crate::log::event::{Outcome, Record};
use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::Service;
use crate::sys::net::{Socket, Stream};
use crate::tls::{Connection, ReadError};

/// Limit for header and handshake together.
const WITHIN: Duration = Duration::from_secs(10);

const HEADER: &str = "proxy_header";
const TLS: &str = "tls";

enum PreludeFault {
    /// The client disconnected, as health checks and port scans do. That is no alarm.
    Left(&'static str),
    Words(String),
}

const SILENT: PreludeFault = PreludeFault::Left("the connection ended without sending anything");
const IN_HANDSHAKE: PreludeFault = PreludeFault::Left("the connection ended in the handshake");

impl From<String> for PreludeFault {
    fn from(words: String) -> PreludeFault {
        PreludeFault::Words(words)
    }
}

impl From<io::Error> for PreludeFault {
    fn from(error: io::Error) -> PreludeFault {
        PreludeFault::Words(error.to_string())
    }
}

#[derive(Debug)]
pub(super) struct Passed {
    pub link: Link,
    /// From the header, or the peer.
    pub client: Peer,
    pub local: Address,
    pub connections: usize,
    pub is_probe: bool,
    /// TLS variables for the program.
    pub secured: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Stopped {
    pub outcome: Outcome,
    pub step: Option<&'static str>,
    pub reason: String,
    pub client: Option<Peer>,
    pub left: bool,
}

impl Stopped {
    fn at(step: &'static str, fault: PreludeFault) -> Stopped {
        match fault {
            PreludeFault::Words(words) => Stopped::failed(step, words),
            PreludeFault::Left(words) => Stopped { left: true, ..Stopped::failed(step, words) },
        }
    }

    fn record(self, session: &Session) -> Record {
        let Stopped { outcome, step, reason, client, left } = self;
        let client = client.and_then(|client| session.named(client));
        Record { outcome, step, left, reason: Some(reason), client, ..session.record() }
    }

    fn failed(step: &'static str, reason: impl Into<String>) -> Stopped {
        Stopped {
            outcome: Outcome::Failed,
            step: Some(step),
            reason: reason.into(),
            client: None,
            left: false,
        }
    }
}

pub(super) async fn pass(
    session: &Session,
    socket: Socket,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Result<Passed, Closed> {
    if session.service.nodelay {
        // Best effort: a `unix:` socket has no such option.
        let _ = socket.set_nodelay();
    }
    let failed = |(stopped, link): (Stopped, Option<Link>)| {
        context.events.session(SessionEvent::Health(session.id, ServiceHealth::Unknown));
        Closed { record: stopped.record(session), link }
    };
    steps(session, socket, context, inbox).await.map_err(failed)
}

/// A failed step returns the connection, unless its conversion failed.
async fn steps(
    session: &Session,
    socket: Socket,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Result<Passed, (Stopped, Option<Link>)> {
    let service = &*session.service;
    let mut passed = Passed {
        link: Link::Socket(socket),
        client: session.peer,
        local: session.local.clone(),
        connections: session.connections,
        is_probe: session.is_probe,
        secured: Vec::new(),
    };
    if !service.has_prelude() && !service.has_pipes() {
        return Ok(passed);
    }
    let failed = |error: io::Error| (Stopped::failed("stdio", error.to_string()), None);
    let deadline = Instant::now() + WITHIN;
    let Link::Socket(socket) = passed.link else { return Ok(passed) };
    let stream = socket.into_stream().map_err(failed)?;
    let named = name(session, &stream, context, inbox, deadline).await;
    let named = match named {
        Ok(named) => named,
        Err(stopped) => return Err((stopped, Some(Link::Plain(stream)))),
    };
    if let Some(Client { client, local, connections }) = named {
        (passed.client, passed.local, passed.connections) = (client, local, connections);
    }
    let secured = match secure(service, &stream, context, inbox, deadline).await {
        Ok(secured) => secured,
        Err(stopped) => {
            let stopped = Stopped { client: Some(passed.client), ..stopped };
            return Err((stopped, Some(Link::Plain(stream))));
        }
    };
    if service.has_prelude() {
        let answer = ask(SessionEvent::Passed(session.id), |told| told.passed.clone(), context, inbox).await;
        passed.is_probe = match answer {
            Ok(is_probe) => is_probe,
            Err(reason) => {
                let stopped = not_let_in(reason, passed.client, &stream, service).await;
                return Err((stopped, Some(Link::Plain(stream))));
            }
        };
    }
    passed.link = match secured {
        Some(connection) => {
            passed.secured = connection.variables();
            Link::Tls(stream, connection)
        }
        None if service.has_pipes() => Link::Plain(stream),
        None => Link::Socket(stream.into_socket().map_err(failed)?),
    };
    Ok(passed)
}

struct Client {
    client: Peer,
    local: Address,
    connections: usize,
}

async fn name(
    session: &Session,
    stream: &Stream,
    context: &SessionContext,
    inbox: &mut Inbox,
    deadline: Instant,
) -> Result<Option<Client>, Stopped> {
    if session.service.proxy_protocol.is_none() {
        return Ok(None);
    }
    let (client, local) = match within(HEADER, deadline, inbox, header(stream, &session.flow)).await? {
        Named::Client { client, local } => (Peer::Inet(client), Address::Tcp(local)),
        Named::Peer => (session.peer, session.local.clone()),
    };
    match ask(SessionEvent::Named(session.id, client), |told| told.named.clone(), context, inbox).await {
        Ok(connections) => Ok(Some(Client { client, local, connections })),
        Err(reason) => Err(not_let_in(reason, client, stream, &session.service).await),
    }
}

async fn secure(
    service: &Service,
    stream: &Stream,
    context: &SessionContext,
    inbox: &mut Inbox,
    deadline: Instant,
) -> Result<Option<Box<Connection>>, Stopped> {
    let connection = match &context.keys {
        // Fails closed: without keys the service must not fall back to clear text.
        None if service.tls.is_some() => return Err(Stopped::failed(TLS, "its certificate is not known")),
        None => return Ok(None),
        Some(Err(fault)) => return Err(Stopped::failed(TLS, &**fault)),
        Some(Ok(keys)) => Connection::new(keys).map_err(|fault| Stopped::failed(TLS, fault))?,
    };
    within(TLS, deadline, inbox, handshake(stream, Box::new(connection))).await.map(Some)
}

/// Runs one step until a deadline or an order to end. Without a program there is no grace period.
async fn within<T>(
    step: &'static str,
    deadline: Instant,
    inbox: &mut Inbox,
    doing: impl Future<Output = Result<T, PreludeFault>>,
) -> Result<T, Stopped> {
    tokio::select! {
        biased;
        done = doing => done.map_err(|fault| Stopped::at(step, fault)),
        () = tokio::time::sleep_until(deadline) => {
            Err(Stopped::failed(step, format!("not finished within {} s", WITHIN.as_secs())))
        }
        why = ended(inbox) => Err(Stopped::failed(step, why)),
    }
}

async fn ended(inbox: &mut Inbox) -> &'static str {
    let told = inbox.wait_for(|told| told.end_before_program().is_some()).await;
    told.ok().and_then(|told| told.end_before_program()).unwrap_or(EndReason::Stop.text())
}

/// Reads exactly the header. The server cannot push bytes back into a socket, and the program may
/// get the socket itself.
async fn header(stream: &Stream, flow: &Flow) -> Result<Named, PreludeFault> {
    let mut bytes = Vec::with_capacity(128);
    loop {
        let more = match proxy_header::read(&bytes) {
            Ok(Progress::Done(named)) => {
                flow.began_with(bytes.len());
                return Ok(named);
            }
            Ok(Progress::More(more)) => more.min(LONGEST),
            Err(malformed) => return Err(malformed.to_string().into()),
        };
        let known = bytes.len();
        bytes.resize(known + more, 0);
        let read = stream.try_read(&mut bytes[known..]);
        bytes.truncate(known + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) if bytes.is_empty() => return Err(SILENT),
            Ok(0) => return Err("the connection ended before its header".to_owned().into()),
            Ok(_) => {}
            Err(error) if bytes.is_empty() => {
                wait(stream, error).await.map_err(|error| cut(error, SILENT))?;
            }
            Err(error) => wait(stream, error).await?,
        }
    }
}

/// Returns `left` if the client disconnected. Some health checks end with a reset.
fn cut(error: io::Error, left: PreludeFault) -> PreludeFault {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => left,
        _ => error.into(),
    }
}

async fn wait(stream: &Stream, error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock => stream.readable().await,
        ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

/// Asks the supervisor whether the client may go on. The error is `None` if the server stops.
async fn ask<T>(
    question: SessionEvent,
    answer: impl Fn(&Instructions) -> Option<Result<T, Reason>>,
    context: &SessionContext,
    inbox: &mut Inbox,
) -> Result<T, Option<Reason>> {
    context.events.session(question);
    let told = inbox.wait_for(|told| answer(told).is_some() || told.order.is_stop()).await;
    told.ok().and_then(|told| answer(&told)).ok_or(None)?.map_err(Some)
}

async fn not_let_in(reason: Option<Reason>, client: Peer, stream: &Stream, service: &Service) -> Stopped {
    let client = Some(client);
    let Some(reason) = reason else {
        let step = if service.tls.is_some() { TLS } else { HEADER };
        return Stopped { client, ..Stopped::failed(step, EndReason::Stop.text()) };
    };
    refuse(stream, service).await;
    Stopped { outcome: Outcome::Refused, step: None, reason: reason.to_string(), client, left: false }
}

/// A TLS client could not read the refusal text.
async fn refuse(stream: &Stream, service: &Service) {
    if service.tls.is_some() || service.refusal.is_empty() {
        return;
    }
    let told = async {
        link::write_all(stream, &service.refusal).await?;
        stream.shutdown()?;
        link::drain(stream).await
    };
    let _ = tokio::time::timeout(REFUSED_WITHIN, told).await;
}

/// Boxed to keep the state of every session small.
async fn handshake(
    stream: &Stream,
    mut connection: Box<Connection>,
) -> Result<Box<Connection>, PreludeFault> {
    let mut network = Network(stream);
    let mut nothing_yet = true;
    loop {
        let read = match connection.read_from(&mut network) {
            Ok(0) if nothing_yet => return Err(SILENT),
            Ok(0) => return Err(IN_HANDSHAKE),
            Ok(_) => {
                nothing_yet = false;
                None
            }
            Err(ReadError::Network(error)) => Some(error),
            Err(ReadError::Tls(fault)) => {
                // Drain after the alert: unread bytes cause a reset, which can overtake it.
                let _ = connection.write_to(&mut network);
                let told = async {
                    stream.shutdown()?;
                    link::drain(stream).await
                };
                let _ = tokio::time::timeout(REFUSED_WITHIN, told).await;
                return Err(fault.into());
            }
        };
        while connection.wants_write() {
            match connection.write_to(&mut network) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    stream.writable().await?;
                }
                Err(error) => return Err(cut(error, IN_HANDSHAKE)),
            }
        }
        if !connection.is_handshaking() {
            return Ok(connection);
        }
        if let Some(error) = read {
            let left = if nothing_yet { SILENT } else { IN_HANDSHAKE };
            wait(stream, error).await.map_err(|error| cut(error, left))?;
        }
    }
}
