//! A client's connection: the program's own, or one whose bytes the server moves.

use std::future::ready;
use std::io;

use super::delivery::delivered;
use super::event::Inbox;
use super::flow::Counted;
use super::lent::Lent;
use super::pump::Network;
use super::scratch;
use crate::sys::Counts;
use crate::sys::connection;
use crate::sys::net::{Socket, Stream};
use crate::tls::{Connection, ReadError};

/// A client's connection.
#[derive(Debug)]
pub enum Link {
    /// It becomes the program's streams.
    Socket(Socket),
    /// It has become a program's streams.
    Lent(Lent),
    /// The server moves what the client sends in clear text.
    Plain(Stream),
    /// The server moves what the client sends in TLS.
    Tls(Stream, Box<Connection>),
}

impl Link {
    /// By what it is known among the descriptors of processes, if the program gets
    /// it as its streams.
    pub fn id(&self) -> Option<connection::Id> {
        match self {
            Link::Socket(socket) => socket.id(),
            Link::Lent(_) | Link::Plain(_) | Link::Tls(..) => None,
        }
    }

    /// Sends a short text of ours, before a program's first word. A client that
    /// is gone already is the program's to find.
    pub async fn send_text(&mut self, text: &[u8]) {
        match self {
            _ if text.is_empty() => {}
            Link::Socket(socket) => {
                let _ = socket.send_text(text);
            }
            Link::Plain(stream) => {
                let _ = write_all(stream, text).await;
            }
            // It is the program's.
            Link::Lent(_) => {}
            // Sent with what comes next.
            Link::Tls(_, connection) => {
                connection.write_plain(text);
            }
        }
    }

    /// Ends the stream to the client, then drops what it still sends until it
    /// ends too. False if a stop cut that short.
    pub async fn linger(&mut self, inbox: Inbox) -> bool {
        match self {
            Link::Socket(socket) => {
                let _ = socket.linger().await;
                true
            }
            Link::Lent(lent) => lent.linger(inbox).await,
            Link::Plain(stream) => {
                // One that is gone already needs no end.
                let _ = stream.shutdown();
                tokio::select! {
                    _ = drain(stream) => true,
                    () = delivered(inbox, || ready(stream.is_acknowledged())) => false,
                }
            }
            Link::Tls(stream, connection) => {
                let _ = stream.shutdown();
                tokio::select! {
                    _ = drain_tls(stream, connection) => true,
                    () = delivered(inbox, || ready(stream.is_acknowledged())) => false,
                }
            }
        }
    }

    /// What moved on it. At its end the connection itself knows best: whether it
    /// broke, so that the end of its stream is not among what was counted.
    pub async fn counts(&self, counted: &Counted) -> Option<Counts> {
        let counts = match self {
            Link::Socket(socket) => socket.counts(false),
            Link::Lent(lent) => lent.counts().await,
            Link::Plain(_) | Link::Tls(..) => return counted.known(),
        };
        counts.map(|counts| counted.of_program(counts))
    }

    /// Whether the client has broken the connection, as far as the system counts.
    pub fn is_broken(&self) -> bool {
        matches!(self, Link::Lent(lent) if lent.is_broken())
    }

    /// Closes it. No process of the session has it any more.
    pub async fn close(self) {
        if let Link::Lent(lent) = self {
            lent.close().await;
        }
    }
}

pub(super) async fn write_all(stream: &Stream, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match stream.try_write(text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            written => text = &text[written?..],
        }
    }
    Ok(())
}

/// The same in TLS, where the client's close_notify is its end: many keep the
/// connection below open for ours.
async fn drain_tls(stream: &Stream, connection: &mut Connection) -> io::Result<()> {
    let mut turn = 0;
    loop {
        match scratch::with(|room| connection.read_plain(room)) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        match connection.read_from(&mut Network(stream)) {
            Ok(_) => {}
            Err(ReadError::Network(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.readable().await?;
            }
            // Nothing that counts can come any more.
            Err(_) => return Ok(()),
        }
        turn += 1;
        if turn % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Reads and drops until the client's end.
pub(super) async fn drain(stream: &Stream) -> io::Result<()> {
    // Bounded, so that a client that floods can't keep its worker for itself.
    let mut reads = 0;
    loop {
        match scratch::with(|room| stream.try_read(room)) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        reads += 1;
        if reads % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
}
