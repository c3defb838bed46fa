//! Waiting in the loop for a connection that a program has had, without a call on it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::poll;

/// A connection that the loop is to wait on.
#[derive(Debug)]
pub struct Waiter(pub(super) Arc<OwnedFd>);

impl Waiter {
    /// Puts it into the poll set, which it leaves when the result is dropped. To be
    /// called within the loop, and dropped while the connection is open elsewhere.
    pub fn watch(self) -> io::Result<Watched> {
        Ok(Watched(poll::watch(self.0)?))
    }
}

/// A connection in the poll set. Nothing is called on the connection itself.
#[derive(Debug)]
pub struct Watched(AsyncFd<Arc<OwnedFd>>);

impl Watched {
    /// Waits until the client may have sent something, or its end.
    pub async fn readable(&self) -> io::Result<Ready<'_>> {
        self.0.readable().await.map(Ready)
    }
}

/// The client may have sent something.
#[derive(Debug)]
pub struct Ready<'a>(AsyncFdReadyGuard<'a, Arc<OwnedFd>>);

impl Ready<'_> {
    /// All of it was taken: `readable` waits for more.
    pub fn clear(mut self) {
        self.0.clear_ready();
    }
}
