//! A connection that the server itself reads and writes, while no program has it.
//!
//! Its socket is synchronous if a program gets it later. The runtime polls the driver through
//! a handle of its own, so no call waits with the connection's lock. The handover to a
//! program cancels the pending poll, which takes no data from the program.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream as StdStream};
use std::os::windows::io::OwnedSocket;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::super::fault::{self, Says};
use super::counts::is_acknowledged;
use super::socket::Socket;

impl Socket {
    /// Takes the connection for the server itself. Must be called within the runtime.
    pub fn into_stream(self) -> io::Result<Stream> {
        Stream::new(self.socket, self.local)
    }
}

#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// Kept here, because a broken connection no longer reports it.
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

    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        fault::point("stream-read", Says::Reset)?;
        self.socket.try_read(buffer)
    }

    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        fault::point("stream-write", Says::Reset)?;
        self.socket.try_write(bytes)
    }

    pub fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        fault::point("stream-write", Says::Reset)?;
        self.socket.try_write_vectored(pieces)
    }

    pub fn shutdown(&self) -> io::Result<()> {
        fault::point("shutdown", Says::Reset)?;
        SockRef::from(&self.socket).shutdown(Shutdown::Write)
    }

    /// Whether the client has acknowledged all data and the end of the stream. `None` if unknown.
    pub fn is_acknowledged(&self) -> Option<bool> {
        is_acknowledged(&self.socket)
    }

    pub fn into_socket(self) -> io::Result<Socket> {
        let socket = self.socket.into_std()?;
        fault::point("nonblocking", Says::Memory)?;
        socket.set_nonblocking(false)?;
        Ok(Socket::new(socket.into(), self.local))
    }
}
