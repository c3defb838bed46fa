//! Waits for a connection that a program has had, without a call on the connection.

use std::io::{self, ErrorKind};

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::super::fault::{self, Says};

#[derive(Debug)]
pub struct Waiter(pub(super) socket2::Socket);

impl Waiter {
    /// Must be called within the runtime. Drop the result while the connection is open.
    pub fn watch(self) -> io::Result<Watched> {
        fault::point("watch", Says::Memory)?;
        Ok(Watched(TcpStream::from_std(self.0.into())?))
    }
}

#[derive(Debug)]
pub struct Watched(TcpStream);

impl Watched {
    pub async fn readable(&self) -> io::Result<Ready<'_>> {
        self.0.readable().await.map(|()| Ready(&self.0))
    }
}

#[derive(Debug)]
pub struct Ready<'a>(&'a TcpStream);

impl Ready<'_> {
    /// Marks all data as read. `readable` then waits, or returns at once if more has arrived.
    pub fn clear(self) {
        let _ = self.0.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
    }
}
