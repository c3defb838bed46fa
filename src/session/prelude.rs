//! What comes on the wire before a program starts: the header by which a proxy
//! names its client, and the handshake of TLS. Whoever does not finish in time
//! is closed, and nothing was started for it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::ending::ordered;
use super::link::{self, Link};
use super::pump::Network;
use super::{Context, Order, Session, TURNED_AWAY_WITHIN};
use crate::config::plan::{Address, Service};
use crate::core::Peer;
use crate::core::proxy_header::{self, LONGEST, Named, Progress};
use crate::core::refusals::Reason;
use crate::log::event::Outcome;
use crate::supervisor::Event;
use crate::sys::net::{Socket, Stream};
use crate::tls::{Connection, ReadError};

/// Header and handshake together may take this long.
const WITHIN: Duration = Duration::from_secs(10);

/// The step of the header, and that of the handshake, as records name them.
const HEADER: &str = "proxy_header";
const TLS: &str = "tls";

/// A connection whose program may start.
#[derive(Debug)]
pub(super) struct Passed {
    /// The connection.
    pub link: Link,
    /// Who is really there.
    pub client: Peer,
    /// Where that client connected to.
    pub local: Address,
    /// How many connections its source has.
    pub connections: usize,
    /// What TLS says of it.
    pub secured: Vec<(&'static str, String)>,
}

/// A connection for which nothing is started.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Whether it was turned away, or failed.
    pub outcome: Outcome,
    /// The step that failed.
    pub step: Option<&'static str>,
    /// Why.
    pub reason: String,
    /// Who is really there, if that was known.
    pub client: Option<Peer>,
}

impl Stopped {
    pub(super) fn failed(step: &'static str, reason: impl Into<String>) -> Stopped {
        Stopped { outcome: Outcome::Failed, step: Some(step), reason: reason.into(), client: None }
    }
}

/// Goes through what the service has of it.
pub(super) async fn pass(
    session: &Session,
    socket: Socket,
    context: &Context,
    orders: &mut watch::Receiver<Order>,
) -> Result<Passed, Stopped> {
    let service = &*session.service;
    let mut passed = Passed {
        link: Link::Socket(socket),
        client: session.peer,
        local: session.local.clone(),
        connections: session.connections,
        secured: Vec::new(),
    };
    if !service.has_prelude() && !service.has_pipes() {
        return Ok(passed);
    }
    let deadline = Instant::now() + WITHIN;
    let Link::Socket(socket) = passed.link else { return Ok(passed) };
    let stream = socket.into_stream().map_err(|error| Stopped::failed("stdio", error.to_string()))?;
    if service.proxy_protocol.is_some() {
        let named = within(HEADER, deadline, orders, header(&stream)).await?;
        if let Named::Client { client, local } = named {
            passed.client = Peer::Inet(client);
            passed.local = Address::Tcp(local);
        }
        let named = ask(session, passed.client, context).await;
        passed.connections = match named {
            Ok(connections) => connections,
            Err(reason) => {
                turn_away(&stream, service).await;
                let reason = reason.to_string();
                let client = Some(passed.client);
                return Err(Stopped { outcome: Outcome::Refused, step: None, reason, client });
            }
        };
    }
    let client = Some(passed.client);
    let secured = match &context.keys {
        None if service.tls.is_some() => Err(Stopped::failed(TLS, "its certificate is not known")),
        None => Ok(None),
        Some(Err(fault)) => Err(Stopped::failed(TLS, &**fault)),
        Some(Ok(keys)) => match Connection::new(keys) {
            Err(fault) => Err(Stopped::failed(TLS, fault)),
            Ok(connection) => within(TLS, deadline, orders, handshake(&stream, connection)).await.map(Some),
        },
    };
    let secured = secured.map_err(|stopped| Stopped { client, ..stopped })?;
    if service.has_prelude() {
        let _ = context.supervisor.send(Event::Passed(session.id));
    }
    passed.link = match secured {
        Some(connection) => {
            passed.secured = connection.variables();
            Link::Tls(stream, Box::new(connection))
        }
        None if service.has_pipes() => Link::Plain(stream),
        None => {
            Link::Socket(stream.into_socket().map_err(|error| Stopped::failed("stdio", error.to_string()))?)
        }
    };
    Ok(passed)
}

/// One step, within its time and until somebody says otherwise.
async fn within<T>(
    step: &'static str,
    deadline: Instant,
    orders: &mut watch::Receiver<Order>,
    doing: impl Future<Output = Result<T, String>>,
) -> Result<T, Stopped> {
    tokio::select! {
        biased;
        done = doing => done.map_err(|reason| Stopped::failed(step, reason)),
        () = tokio::time::sleep_until(deadline) => {
            Err(Stopped::failed(step, format!("not finished within {} s", WITHIN.as_secs())))
        }
        why = ordered(orders) => Err(Stopped::failed(step, why.text())),
    }
}

/// Reads exactly the header: what follows is the program's, which may get the
/// socket itself, and to that nothing can be given back.
async fn header(stream: &Stream) -> Result<Named, String> {
    let mut bytes = Vec::with_capacity(128);
    loop {
        let more = match proxy_header::read(&bytes) {
            Ok(Progress::Done(named)) => return Ok(named),
            Ok(Progress::More(more)) => more.min(LONGEST),
            Err(malformed) => return Err(malformed.to_string()),
        };
        let known = bytes.len();
        bytes.resize(known + more, 0);
        let read = stream.try_read(&mut bytes[known..]);
        bytes.truncate(known + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Err("the connection ended before its header".to_owned()),
            Ok(_) => {}
            Err(error) => wait(stream, error).await?,
        }
    }
}

async fn wait(stream: &Stream, error: io::Error) -> Result<(), String> {
    match error.kind() {
        ErrorKind::WouldBlock => stream.readable().await.map_err(|error| error.to_string()),
        ErrorKind::Interrupted => Ok(()),
        _ => Err(error.to_string()),
    }
}

/// Asks whether this client may start what it came for.
async fn ask(session: &Session, client: Peer, context: &Context) -> Result<usize, Reason> {
    let (reply, answer) = oneshot::channel();
    let _ = context.supervisor.send(Event::Named(session.id, client, reply));
    // The supervisor is gone: nobody is served.
    answer.await.unwrap_or(Err(Reason::Full))
}

/// Tells a client why, unless it would not understand it.
async fn turn_away(stream: &Stream, service: &Service) {
    if service.tls.is_some() || service.refusal.is_empty() {
        return;
    }
    let told = async {
        link::write_all(stream, &service.refusal).await?;
        stream.shutdown()?;
        link::drain(stream).await
    };
    let _ = tokio::time::timeout(TURNED_AWAY_WITHIN, told).await;
}

async fn handshake(stream: &Stream, mut connection: Connection) -> Result<Connection, String> {
    let mut network = Network(stream);
    loop {
        let read = match connection.read_from(&mut network) {
            Ok(0) => return Err("the connection ended in the handshake".to_owned()),
            Ok(_) => None,
            Err(ReadError::Network(error)) => Some(error),
            Err(ReadError::Tls(fault)) => {
                // It is told by an alert, if it listens.
                let _ = connection.write_to(&mut network);
                return Err(fault);
            }
        };
        while connection.wants_write() {
            match connection.write_to(&mut network) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    stream.writable().await.map_err(|error| error.to_string())?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        if !connection.is_handshaking() {
            return Ok(connection);
        }
        if let Some(error) = read {
            wait(stream, error).await?;
        }
    }
}
