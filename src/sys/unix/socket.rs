//! One connection, outside the poll set. Its open file description stays blocking, because a
//! program shares it. The server's own calls use MSG_DONTWAIT.

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

#[derive(Debug)]
pub struct Socket {
    pub(super) descriptor: Arc<OwnedFd>,
}

impl Socket {
    pub fn local_addr(&self) -> io::Result<Address> {
        address_of(&self.descriptor.as_fd())
    }

    /// Fails unless the buffer takes all of it. A new connection's buffer holds
    /// `plan::LONGEST_TEXT`. No program may have the connection yet.
    pub fn send_text(&self, text: &[u8]) -> io::Result<()> {
        fault::point("send-text", Says::Reset)?;
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = SockRef::from(&self.descriptor).send_with_flags(text, flags)?;
        if sent == text.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// `None` without kernel counters. A `broken` connection counted no end of stream.
    pub fn counts(&self, broken: bool) -> Option<Counts> {
        counts::of(self.descriptor.as_raw_fd(), broken)
    }

    /// `None` if the system does not tell.
    pub fn is_acknowledged(&self) -> Option<bool> {
        counts::is_acknowledged(self.descriptor.as_raw_fd())
    }

    /// Undoes a program's SO_LINGER, with which the last close would wait or reset the connection.
    pub fn reset_so_linger(&self) -> io::Result<()> {
        fault::point("so-linger", Says::Memory)?;
        SockRef::from(&self.descriptor).set_linger(None)
    }

    pub fn shutdown(&self) -> io::Result<()> {
        fault::point("shutdown", Says::Reset)?;
        SockRef::from(&self.descriptor).shutdown(std::net::Shutdown::Write)
    }

    pub fn waiter(&self) -> io::Result<Waiter> {
        Ok(Waiter(self.descriptor.clone()))
    }

    /// Half-closes, then discards input until end of file. A close over unread input would reset
    /// the connection and lose the last output. No program may have had the connection.
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

    pub fn drain(&self) -> io::Result<Drained> {
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 16 * 1024];
        // Bounded, so that a flooding client cannot hold the event loop.
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

/// An inherited dual-stack socket shows IPv4 clients as `::ffff:a.b.c.d`, which IPv4 rules miss.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        _ => address,
    }
}

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
