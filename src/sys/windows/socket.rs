//! An accepted connection, which the runtime polls only through a second handle.

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

/// An accepted connection. The drop closes it.
#[derive(Debug)]
pub struct Socket {
    pub(super) socket: OwnedSocket,
    pub(super) local: SocketAddr,
}

impl Socket {
    pub fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Tcp(self.local))
    }

    /// Always `None`: the query would wait for the program's read.
    pub fn counts(&self, _broken: bool) -> Option<Counts> {
        None
    }

    /// Whether the client has acknowledged all data and the end of the stream. `None` if unknown.
    pub fn is_acknowledged(&self) -> Option<bool> {
        is_acknowledged(&self.socket)
    }

    pub fn counter(&self) -> Counter {
        Counter(())
    }

    pub(super) fn new(socket: OwnedSocket, local: SocketAddr) -> Socket {
        Socket { socket, local }
    }

    /// Sends a short text of at most `plan::LONGEST_TEXT` bytes, which fits a new connection's
    /// buffer. Call it only before a program has the connection: it would wait for the
    /// program's read. An error if the text is not sent whole.
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

    /// Resets a program's SO_LINGER, which would block the last close or reset the connection.
    pub fn reset_so_linger(&self) -> io::Result<()> {
        fault::point("so-linger", Says::Memory)?;
        SockRef::from(&self.socket).set_linger(None)
    }

    /// Half-closes the connection and makes `drain` non-blocking. Call it only once the program's
    /// whole tree is gone.
    pub fn shutdown(&self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        socket.set_nonblocking(true)?;
        fault::point("shutdown", Says::Reset)?;
        socket.shutdown(std::net::Shutdown::Write)
    }

    /// A second handle for the runtime to wait on until the client sends.
    pub fn waiter(&self) -> io::Result<Waiter> {
        fault::point("watch:duplicate", Says::Sockets)?;
        SockRef::from(&self.socket).try_clone().map(Waiter)
    }

    /// Half-closes the connection, then discards input until the client closes too. A close
    /// with unread input resets the connection and loses the last output. Call it only if no
    /// program has had the connection.
    pub async fn linger(&self) -> io::Result<()> {
        self.shutdown()?;
        // Before the poll, which does not report a reset that was seen already.
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

    /// Discards the input that has arrived. Does not wait after `shutdown`.
    pub fn drain(&self) -> io::Result<Drained> {
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); CHUNK];
        // Bounded, so that a flooding client cannot occupy the runtime.
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

const CHUNK: usize = 16 * 1024;
