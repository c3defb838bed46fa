//! A client's connection, in the hands of whoever moves its bytes.

use std::io;

use super::flow::Counted;
use super::pump::Network;
use super::scratch;
use crate::sys::Counts;
use crate::sys::net::{Socket, Stream};
use crate::tls::{Connection, ReadError};

/// A client's connection.
#[derive(Debug)]
pub enum Link {
    /// It becomes the program's streams.
    Socket(Socket),
    /// The server moves what the client sends in clear text.
    Plain(Stream),
    /// The server moves what the client sends in TLS.
    Tls(Stream, Box<Connection>),
}

impl Link {
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
            // Sent with what comes next.
            Link::Tls(_, connection) => {
                connection.write_plain(text);
            }
        }
    }

    /// Ends the stream to the client, then drops what it still sends until it
    /// ends too.
    pub async fn linger(&mut self) -> io::Result<()> {
        match self {
            Link::Socket(socket) => socket.linger().await,
            Link::Plain(stream) => {
                // One that is gone already needs no end.
                let _ = stream.shutdown();
                drain(stream).await
            }
            Link::Tls(stream, connection) => {
                let _ = stream.shutdown();
                drain_tls(stream, connection).await
            }
        }
    }

    /// What moved on it. At its end the connection itself knows best: whether it
    /// broke, so that the end of its stream is not among what was counted.
    pub fn counts(&self, counted: &Counted) -> Option<Counts> {
        match self {
            Link::Socket(socket) => socket.counts().map(|counts| counted.of_program(counts)),
            Link::Plain(_) | Link::Tls(..) => counted.counts(),
        }
    }

    /// Closes it although a program may still have it.
    pub fn abandon(self) {
        if let Link::Socket(socket) = self {
            socket.abandon();
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
