//! Waiting in the loop for a connection that a program has had, without a call on it.

use std::io::{self, ErrorKind};

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::super::fault::{self, Says};

/// A second handle of a connection that the loop is to wait on.
#[derive(Debug)]
pub struct Waiter(pub(super) socket2::Socket);

impl Waiter {
    /// Puts it into the poll set, which it leaves when the result is dropped. To be
    /// called within the loop, and dropped while the connection is open elsewhere.
    pub fn watch(self) -> io::Result<Watched> {
        fault::point("watch", Says::Memory)?;
        Ok(Watched(TcpStream::from_std(self.0.into())?))
    }
}

/// A connection in the poll set. Nothing is called on the connection itself.
#[derive(Debug)]
pub struct Watched(TcpStream);

impl Watched {
    /// Waits until the client may have sent something, or its end.
    pub async fn readable(&self) -> io::Result<Ready<'_>> {
        self.0.readable().await.map(|()| Ready(&self.0))
    }
}

/// The client may have sent something.
#[derive(Debug)]
pub struct Ready<'a>(&'a TcpStream);

impl Ready<'_> {
    /// All of it was taken: `readable` waits for more, and is told at once where some has
    /// come meanwhile.
    pub fn clear(self) {
        let _ = self.0.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
    }
}
