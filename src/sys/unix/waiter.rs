//! Waits for a connection that a program has had, without a call on it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::poll;

#[derive(Debug)]
pub struct Waiter(pub(super) Arc<OwnedFd>);

impl Waiter {
    /// The connection must stay open elsewhere. Must be called within the event loop.
    pub fn watch(self) -> io::Result<Watched> {
        Ok(Watched(poll::watch(self.0)?))
    }
}

#[derive(Debug)]
pub struct Watched(AsyncFd<Arc<OwnedFd>>);

impl Watched {
    pub async fn readable(&self) -> io::Result<Ready<'_>> {
        self.0.readable().await.map(Ready)
    }
}

#[derive(Debug)]
pub struct Ready<'a>(AsyncFdReadyGuard<'a, Arc<OwnedFd>>);

impl Ready<'_> {
    /// After this `readable` waits for more input.
    pub fn clear(mut self) {
        self.0.clear_ready();
    }
}
