//! A connection that the server itself reads and writes.

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

/// Does not keep the connection open.
#[derive(Debug, Clone)]
pub struct Counter(Weak<OwnedFd>);

impl Counter {
    /// `None` where the kernel has no counters, or the connection is closed.
    pub fn counts(&self) -> Option<Counts> {
        counts::of(self.0.upgrade()?.as_raw_fd(), false)
    }
}

impl Socket {
    pub fn counter(&self) -> Counter {
        Counter(Arc::downgrade(&self.descriptor))
    }

    /// No program may have the connection. Must be called within the event loop.
    pub fn into_stream(self) -> io::Result<Stream> {
        fault::point("nonblocking", Says::Memory)?;
        SockRef::from(&self.descriptor).set_nonblocking(true)?;
        let socket = poll::watch_for(self.descriptor, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Stream { socket })
    }
}

#[derive(Debug)]
pub struct Stream {
    pub(super) socket: AsyncFd<Arc<OwnedFd>>,
}

impl Stream {
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut ready| ready.retain_ready())
    }

    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await.map(|mut ready| ready.retain_ready())
    }

    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| {
            fault::point("stream-read", Says::Reset)?;
            (&*SockRef::from(socket)).read(buffer)
        })
    }

    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, |socket| {
            fault::point("stream-write", Says::Reset)?;
            SockRef::from(socket).send_with_flags(bytes, libc::MSG_NOSIGNAL)
        })
    }

    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, |socket| {
            fault::point("stream-write", Says::Reset)?;
            SockRef::from(socket).send_vectored_with_flags(pieces, libc::MSG_NOSIGNAL)
        })
    }

    pub fn shutdown(&self) -> io::Result<()> {
        fault::point("shutdown", Says::Reset)?;
        SockRef::from(self.socket.get_ref()).shutdown(std::net::Shutdown::Write)
    }

    /// `None` if the system does not tell.
    pub fn is_acknowledged(&self) -> Option<bool> {
        counts::is_acknowledged(self.socket.get_ref().as_raw_fd())
    }

    pub fn into_socket(self) -> io::Result<Socket> {
        let descriptor = self.socket.into_inner();
        fault::point("nonblocking", Says::Memory)?;
        SockRef::from(&descriptor).set_nonblocking(false)?;
        Ok(Socket { descriptor })
    }
}
