//! A connection on Windows while no program has it: the server itself reads and
//! writes.
//!
//! Its socket is asynchronous, or synchronous where a program gets it afterwards.
//! The loop polls both: it asks the driver through a handle of its own, so nobody waits with
//! the connection's lock. What it has asked is taken back when the connection
//! goes to a program. (Even if it were not at once, it would take nothing from
//! the program: what the driver answers goes to nobody then.)

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream as StdStream};
use std::os::windows::io::OwnedSocket;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::super::fault::{self, Says};
use super::counts::is_acknowledged;
use super::socket::Socket;

impl Socket {
    /// The connection for the server itself, as long as no program has it.
    /// Must be called within the loop.
    pub fn into_stream(self) -> io::Result<Stream> {
        Stream::new(self.socket, self.local)
    }
}

/// A connection that the server itself reads and writes.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// Kept: a connection that has broken no longer tells it.
    local: SocketAddr,
}

impl Stream {
    pub(super) fn new(socket: OwnedSocket, local: SocketAddr) -> io::Result<Stream> {
        let socket = StdStream::from(socket);
        fault::point("nonblocking", Says::Memory)?;
        socket.set_nonblocking(true)?;
        fault::point("watch", Says::Memory)?;
        Ok(Stream { socket: TcpStream::from_std(socket)?, local })
    }

    /// Waits until something may be there to read, or the end is.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Waits until there may be room to write.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Reads what is there; 0 at the end.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        fault::point("stream-read", Says::Reset)?;
        self.socket.try_read(buffer)
    }

    /// Writes what there is room for.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        fault::point("stream-write", Says::Reset)?;
        self.socket.try_write(bytes)
    }

    /// Writes what there is room for of several pieces.
    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        fault::point("stream-write", Says::Reset)?;
        self.socket.try_write_vectored(pieces)
    }

    /// Ends our direction of the stream.
    pub fn shutdown(&self) -> io::Result<()> {
        fault::point("shutdown", Says::Reset)?;
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }

    /// Whether the client has acknowledged all that was sent to it; `None` where
    /// the system does not tell.
    pub fn is_acknowledged(&self) -> Option<bool> {
        is_acknowledged(&self.socket)
    }

    /// The connection as a program takes it.
    pub fn into_socket(self) -> io::Result<Socket> {
        // Leaves the poll set.
        let socket = self.socket.into_std()?;
        fault::point("nonblocking", Says::Memory)?;
        socket.set_nonblocking(false)?;
        Ok(Socket::new(socket.into(), self.local))
    }
}
