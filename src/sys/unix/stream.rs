//! A connection that the server itself reads and writes, and one that is only
//! asked what moved on it.

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Weak};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::Counts;
use super::super::fault::{self, Says};
use super::socket::Socket;
use super::{counts, poll};

/// Asks what moved on a connection, as long as that is open.
#[derive(Debug, Clone)]
pub struct Counter(Weak<OwnedFd>);

impl Counter {
    /// What the kernel counted; `None` where it does not, or the connection is
    /// closed.
    pub fn counts(&self) -> Option<Counts> {
        counts::of(self.0.upgrade()?.as_raw_fd(), false)
    }
}

impl Socket {
    /// Asks the same from elsewhere.
    pub fn counter(&self) -> Counter {
        Counter(Arc::downgrade(&self.descriptor))
    }

    /// The connection for the server itself, as long as no program has it.
    /// Must be called within the loop.
    pub fn into_stream(self) -> io::Result<Stream> {
        fault::point("nonblocking", Says::Memory)?;
        SockRef::from(&self.descriptor).set_nonblocking(true)?;
        let socket = poll::watch_for(self.descriptor, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Stream { socket })
    }
}

/// A connection that the server itself reads and writes.
#[derive(Debug)]
pub struct Stream {
    pub(super) socket: AsyncFd<Arc<OwnedFd>>,
}

impl Stream {
    /// Waits until something may be there to read, or the end is.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Waits until there may be room to write.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await.map(|mut ready| ready.retain_ready())
    }

    /// Reads what is there; 0 at the end.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| {
            fault::point("stream-read", Says::Reset)?;
            (&*SockRef::from(socket)).read(buffer)
        })
    }

    /// Writes what there is room for.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, |socket| {
            fault::point("stream-write", Says::Reset)?;
            SockRef::from(socket).send_with_flags(bytes, libc::MSG_NOSIGNAL)
        })
    }

    /// Writes what there is room for of several pieces.
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, |socket| {
            fault::point("stream-write", Says::Reset)?;
            SockRef::from(socket).send_vectored_with_flags(pieces, libc::MSG_NOSIGNAL)
        })
    }

    /// Ends our direction of the stream.
    pub fn shutdown(&self) -> io::Result<()> {
        fault::point("shutdown", Says::Reset)?;
        SockRef::from(self.socket.get_ref()).shutdown(std::net::Shutdown::Write)
    }

    /// Whether the client has acknowledged all that was sent to it; `None` where
    /// the system does not tell.
    pub fn is_acknowledged(&self) -> Option<bool> {
        counts::is_acknowledged(self.socket.get_ref().as_raw_fd())
    }

    /// The connection as a program takes it.
    pub fn into_socket(self) -> io::Result<Socket> {
        let descriptor = self.socket.into_inner();
        fault::point("nonblocking", Says::Memory)?;
        SockRef::from(&descriptor).set_nonblocking(false)?;
        Ok(Socket { descriptor })
    }
}
