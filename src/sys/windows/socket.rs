//! One connection, which the loop polls only by a second handle.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::windows::io::{AsRawSocket, OwnedSocket};

use socket2::SockRef;
use windows_sys::Win32::Foundation::HANDLE;

use super::super::fault::{self, Says};
use super::super::{Counts, Drained};
use super::counts::{Counter, is_acknowledged};
use super::waiter::Waiter;
use crate::model::listen::Address;

/// One connection. Closed when dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) socket: OwnedSocket,
    pub(super) local: SocketAddr,
}

impl Socket {
    /// The server's address that the client connected to.
    pub fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Tcp(self.local))
    }

    /// What the kernel counted: asking would wait for the program here.
    pub fn counts(&self, _broken: bool) -> Option<Counts> {
        None
    }

    /// Whether the client has acknowledged all that was sent to it; `None` where
    /// the system does not tell.
    pub fn is_acknowledged(&self) -> Option<bool> {
        is_acknowledged(&self.socket)
    }

    /// Asks the same from elsewhere.
    pub fn counter(&self) -> Counter {
        Counter(())
    }

    /// A connection that is as a program expects it: it waits.
    pub(super) fn new(socket: OwnedSocket, local: SocketAddr) -> Socket {
        Socket { socket, local }
    }

    /// Sends a short text of ours, if it can be sent at once and whole: a new
    /// connection's buffer has room for `plan::LONGEST_TEXT`. Only before a
    /// program has the connection, whose reads it would wait for.
    pub fn send_text(&self, text: &[u8]) -> io::Result<()> {
        fault::point("send-text", Says::Reset)?;
        let socket = SockRef::from(&self.socket);
        socket.set_nonblocking(true)?;
        let sent = socket.send(text);
        socket.set_nonblocking(false)?;
        if sent? == text.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    pub(super) fn handle(&self) -> HANDLE {
        self.socket.as_raw_socket() as HANDLE
    }

    /// Takes back a program's SO_LINGER: with it the last close waits for the
    /// client, or resets the connection.
    pub fn reset_so_linger(&self) -> io::Result<()> {
        fault::point("so-linger", Says::Memory)?;
        SockRef::from(&self.socket).set_linger(None)
    }

    /// Ends the stream to the client, and lets `drain` not wait. Only after the
    /// program's whole tree is gone.
    pub fn shutdown(&self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        socket.set_nonblocking(true)?;
        fault::point("shutdown", Says::Reset)?;
        socket.shutdown(std::net::Shutdown::Write)
    }

    /// What the loop waits with until the client sends.
    pub fn waiter(&self) -> io::Result<Waiter> {
        fault::point("watch:duplicate", Says::Sockets)?;
        SockRef::from(&self.socket).try_clone().map(Waiter)
    }

    /// Ends the stream to the client, then reads and drops what the client
    /// still sends until it ends too: closing over unread input would reset
    /// the connection, and what was written last would be lost. Only where no
    /// program has had the connection.
    pub async fn linger(&self) -> io::Result<()> {
        self.shutdown()?;
        // Asked once before it is polled: a reset that was seen already is not told again.
        if self.drain()? == Drained::End {
            return Ok(());
        }
        let waits = self.waiter()?.watch()?;
        loop {
            let ready = waits.readable().await?;
            match self.drain()? {
                Drained::End => return Ok(()),
                Drained::Empty => ready.clear(),
                Drained::More => tokio::task::yield_now().await,
            }
        }
    }

    /// Drops what has arrived. It does not wait after `shutdown`.
    pub fn drain(&self) -> io::Result<Drained> {
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); CHUNK];
        // Bounded, so that a client that floods can't keep the loop for itself.
        for _ in 0..64 {
            fault::point("drain", Says::Reset)?;
            match SockRef::from(&self.socket).recv(&mut buffer) {
                Ok(0) => return Ok(Drained::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Drained::Empty),
                Err(error) => return Err(error),
            }
        }
        Ok(Drained::More)
    }
}

/// How much is dropped at a time.
const CHUNK: usize = 16 * 1024;
