//! A client's connection: the program has it, or the server relays its bytes.

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

#[derive(Debug)]
pub enum Link {
    /// Becomes the program's streams.
    Socket(Socket),
    /// Has become a program's streams.
    Lent(Lent),
    Plain(Stream),
    Tls(Stream, Box<Connection>),
}

impl Link {
    /// Identifies the connection among the descriptors of processes.
    pub fn id(&self) -> Option<connection::Id> {
        match self {
            Link::Socket(socket) => socket.id(),
            Link::Lent(_) | Link::Plain(_) | Link::Tls(..) => None,
        }
    }

    /// Sends a short text. Errors are ignored: the program notices a broken connection itself.
    pub async fn send_text(&mut self, text: &[u8]) {
        match self {
            _ if text.is_empty() => {}
            Link::Socket(socket) => {
                let _ = socket.send_text(text);
            }
            Link::Plain(stream) => {
                let _ = write_all(stream, text).await;
            }
            Link::Lent(_) => {}
            // TLS sends it together with the next bytes.
            Link::Tls(_, connection) => {
                connection.write_plain(text);
            }
        }
    }

    /// Half-closes the connection, then drains it until the client's end of file. Returns false
    /// if a stop cut that short.
    pub async fn linger(&mut self, inbox: Inbox) -> bool {
        match self {
            Link::Socket(socket) => {
                let _ = socket.linger().await;
                true
            }
            Link::Lent(lent) => lent.linger(inbox).await,
            Link::Plain(stream) => {
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

    pub async fn counts(&self, counted: &Counted) -> Option<Counts> {
        let counts = match self {
            Link::Socket(socket) => socket.counts(false),
            Link::Lent(lent) => lent.counts().await,
            Link::Plain(_) | Link::Tls(..) => return counted.known(),
        };
        counts.map(|counts| counted.of_program(counts))
    }

    /// Whether the client broke the connection. Known only for connections that a program had.
    pub fn is_broken(&self) -> bool {
        matches!(self, Link::Lent(lent) if lent.is_broken())
    }

    /// Closes the connection. No process of the session may still hold it.
    pub fn close(self) {
        if let Link::Lent(lent) = self {
            lent.close();
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

/// Like [`drain`], in TLS. It ends at the client's close_notify, because many clients then keep
/// the TCP connection open until the server closes it.
async fn drain_tls(stream: &Stream, connection: &mut Connection) -> io::Result<()> {
    let mut turn = 0;
    loop {
        match scratch::with(|buffer| connection.read_plain(buffer)) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        match connection.read_from(&mut Network(stream)) {
            Ok(_) => {}
            Err(ReadError::Network(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.readable().await?;
            }
            Err(_) => return Ok(()),
        }
        turn += 1;
        if turn % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) async fn drain(stream: &Stream) -> io::Result<()> {
    // Yields now and then, so that a client that floods cannot monopolize its worker.
    let mut reads = 0;
    loop {
        match scratch::with(|buffer| stream.try_read(buffer)) {
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
