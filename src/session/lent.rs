//! A connection that a program has or had as its streams.

use std::sync::Arc;

use super::delivery::delivered;
use super::event::Inbox;
use crate::core::helper_queue::Owner;
use crate::session::helpers::Helpers;
use crate::sys::net::{Socket, Waiter};
use crate::sys::{Counts, Drained};

/// A process that left the session may still hold the connection, so any call on it can block.
/// Helper threads make all calls, including the last close.
#[derive(Debug)]
pub struct Lent {
    socket: Option<Arc<Socket>>,
    owner: Owner,
    helpers: Helpers,
    ended: Option<Ended>,
}

#[derive(Debug, Clone, Copy)]
struct Ended {
    counts: Option<Counts>,
    is_broken: bool,
}

enum DropStep {
    More,
    Empty,
    Ended(Ended),
}

impl DropStep {
    fn of(socket: &Socket, drained: Option<Drained>) -> DropStep {
        let is_broken = match drained {
            Some(Drained::More) => return DropStep::More,
            Some(Drained::Empty) => return DropStep::Empty,
            Some(Drained::End) => false,
            None => true,
        };
        DropStep::Ended(Ended { counts: socket.counts(is_broken), is_broken })
    }
}

impl Lent {
    pub fn new(socket: Socket, owner: Owner, helpers: Helpers) -> Lent {
        Lent { socket: Some(Arc::new(socket)), owner, helpers, ended: None }
    }

    async fn call<T: Send + 'static>(&self, call: impl FnOnce(&Socket) -> T + Send + 'static) -> Option<T> {
        let socket = self.socket.clone()?;
        self.helpers.run(self.owner, move || call(&socket)).await
    }

    /// Half-closes the connection and drains it until end of file. Returns false if a stop cut
    /// that short.
    pub async fn linger(&mut self, inbox: Inbox) -> bool {
        let this = &*self;
        let is_acknowledged = || async { this.call(Socket::is_acknowledged).await? };
        let ended = tokio::select! {
            ended = this.drain() => ended,
            () = delivered(inbox, is_acknowledged) => return false,
        };
        self.ended = ended;
        true
    }

    async fn drain(&self) -> Option<Ended> {
        let first = self.call(|socket| {
            let _ = socket.reset_so_linger();
            let step = DropStep::of(socket, socket.shutdown().and_then(|()| socket.drain()).ok());
            match step {
                DropStep::Ended(ended) => Err(ended),
                DropStep::More | DropStep::Empty => Ok(socket.waiter()),
            }
        });
        let waits = match first.await? {
            Err(ended) => return Some(ended),
            Ok(waiter) => waiter.and_then(Waiter::watch).ok()?,
        };
        loop {
            let ready = waits.readable().await.ok()?;
            match self.call(|socket| DropStep::of(socket, socket.drain().ok())).await? {
                DropStep::More => {}
                DropStep::Empty => ready.clear(),
                DropStep::Ended(ended) => return Some(ended),
            }
        }
    }

    pub async fn counts(&self) -> Option<Counts> {
        match self.ended {
            Some(ended) => ended.counts,
            None => self.call(|socket| socket.counts(false)).await?,
        }
    }

    pub fn is_broken(&self) -> bool {
        self.ended.is_some_and(|ended| ended.is_broken)
    }

    /// Lets a helper close the connection. No process of the session may still hold it.
    pub fn close(mut self) {
        let Some(socket) = self.socket.take() else { return };
        self.helpers.push(self.owner, move || {
            let _ = socket.reset_so_linger();
            drop(socket);
        });
    }
}

impl Drop for Lent {
    /// Closes without `reset_so_linger`: a program may still hold the connection.
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.helpers.push(self.owner, move || drop(socket));
        }
    }
}
