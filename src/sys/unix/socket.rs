//! One connection, outside of the poll set.
//!
//! It is a blocking description from the start and stays one, because a program shares
//! it; what the server itself does on it says MSG_DONTWAIT.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use socket2::SockRef;

use super::super::fault::{self, Says};
use super::super::{Counts, Drained};
use super::counts;
use super::waiter::Waiter;
use crate::model::listen::Address;

/// One connection. Closed when dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) descriptor: Arc<OwnedFd>,
}

impl Socket {
    /// The server's address that the client connected to.
    pub fn local_addr(&self) -> io::Result<Address> {
        address_of(&self.descriptor.as_fd())
    }

    /// Sends a short text of ours, if it can be sent at once and whole: a new
    /// connection's buffer has room for `plan::LONGEST_TEXT`. To be called
    /// before a program has the connection.
    pub fn send_text(&self, text: &[u8]) -> io::Result<()> {
        fault::point("send-text", Says::Reset)?;
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = SockRef::from(&self.descriptor).send_with_flags(text, flags)?;
        if sent == text.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// What the kernel counted; `None` where it does not, as for sockets in
    /// the file system. On a `broken` connection no end of stream was counted.
    pub fn counts(&self, broken: bool) -> Option<Counts> {
        counts::of(self.descriptor.as_raw_fd(), broken)
    }

    /// Whether the client has acknowledged all that was sent to it; `None` where
    /// the system does not tell.
    pub fn is_acknowledged(&self) -> Option<bool> {
        counts::is_acknowledged(self.descriptor.as_raw_fd())
    }

    /// Takes back a program's SO_LINGER: with it the last close waits for the
    /// client, or resets the connection.
    pub fn reset_so_linger(&self) -> io::Result<()> {
        fault::point("so-linger", Says::Memory)?;
        SockRef::from(&self.descriptor).set_linger(None)
    }

    /// Ends the stream to the client.
    pub fn shutdown(&self) -> io::Result<()> {
        fault::point("shutdown", Says::Reset)?;
        SockRef::from(&self.descriptor).shutdown(std::net::Shutdown::Write)
    }

    /// What the loop waits with until the client sends.
    pub fn waiter(&self) -> io::Result<Waiter> {
        Ok(Waiter(self.descriptor.clone()))
    }

    /// Ends the stream to the client, then reads and drops what the client
    /// still sends until it ends too: closing over unread input would reset
    /// the connection, and what was written last would be lost. Only where no
    /// program has had the connection.
    pub async fn linger(&self) -> io::Result<()> {
        self.shutdown()?;
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

    /// Drops what has arrived, without waiting.
    pub fn drain(&self) -> io::Result<Drained> {
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 16 * 1024];
        // Bounded, so that a client that floods can't keep the loop for itself.
        for _ in 0..64 {
            fault::point("drain", Says::Reset)?;
            match SockRef::from(&self.descriptor).recv_with_flags(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(0) => return Ok(Drained::End),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Drained::Empty),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Drained::More)
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// On a dual-stack socket that was passed to us, IPv4 clients come as
/// `::ffff:192.0.2.1`, and rules for IPv4 would not know them.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        _ => address,
    }
}

/// The address that a socket is bound to.
pub(super) fn address_of(socket: &BorrowedFd<'_>) -> io::Result<Address> {
    let address = SockRef::from(socket).local_addr()?;
    match address.as_pathname() {
        Some(path) => Ok(Address::Unix(path.to_owned())),
        None => address.as_socket().map(canonical).map(Address::Tcp).ok_or_else(not_an_address),
    }
}

pub(super) fn not_an_address() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the system gave no internet address")
}
