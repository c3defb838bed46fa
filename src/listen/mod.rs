//! Listeners: bound or being retried, and when to accept again after the
//! system ran out of something.

pub mod inherited;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::config::plan::{Address, UnixSocket};
use crate::core::ServiceId;
use crate::core::backoff::Backoff;
use crate::supervisor::Event;
use crate::sys::Keepalive;
use crate::sys::net::{Inherited, Listener};

/// The first try again of an address that could not be bound,
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// and the longest pause between two.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// A listener, by its place in the supervisor's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub usize);

/// One address of a service: bound, or tried again now and then.
#[derive(Debug)]
pub struct Slot {
    /// The service.
    pub service: ServiceId,
    /// Where.
    pub address: Address,
    unix: UnixSocket,
    keepalive: Option<Keepalive>,
    /// A socket that a service manager has opened for it, until it is used.
    inherited: Option<Inherited>,
    /// How long until the next try, while it is not bound.
    pub backoff: Backoff,
    /// The host has no such address family: it is not waited for.
    pub is_missing: bool,
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    listener: Arc<Listener>,
    watch: JoinHandle<()>,
    again: Arc<Notify>,
}

impl Slot {
    /// Not yet bound.
    pub fn new(
        service: ServiceId,
        address: Address,
        unix: UnixSocket,
        keepalive: Option<Keepalive>,
        inherited: Option<Inherited>,
    ) -> Self {
        let backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        Slot { service, address, unix, keepalive, inherited, backoff, is_missing: false, bound: None }
    }

    /// Binds, and tells the supervisor from now on when clients wait.
    pub fn bind(&mut self, id: ListenerId, supervisor: mpsc::UnboundedSender<Event>) -> std::io::Result<()> {
        let listener = match self.inherited.take() {
            Some(inherited) => Listener::inherit(inherited, self.keepalive)?,
            None => Listener::bind(&self.address, &self.unix, self.keepalive)?,
        };
        let listener = Arc::new(listener);
        let again = Arc::new(Notify::new());
        let watch = tokio::spawn(watch(id, listener.clone(), again.clone(), supervisor));
        self.backoff.succeeded();
        self.bound = Some(Bound { listener, watch, again });
        Ok(())
    }

    /// The listener, while it is bound.
    pub fn listener(&self) -> Option<&Arc<Listener>> {
        self.bound.as_ref().map(|bound| &bound.listener)
    }

    /// The supervisor has taken whom it wanted: tell it when more wait.
    pub fn wait_again(&self) {
        if let Some(bound) = &self.bound {
            bound.again.notify_one();
        }
    }

    /// Closes the socket. Clients that wait in its backlog are refused. The
    /// task that watches it shares it: it is closed once that has ended, which
    /// the result waits for.
    pub fn close(&mut self) -> Option<JoinHandle<()>> {
        let Bound { watch, .. } = self.bound.take()?;
        watch.abort();
        Some(watch)
    }
}

/// Says that clients wait, then is silent until the supervisor has looked:
/// while it does not accept, they wait in the backlog and cost nothing.
async fn watch(
    id: ListenerId,
    listener: Arc<Listener>,
    again: Arc<Notify>,
    supervisor: mpsc::UnboundedSender<Event>,
) {
    while listener.readable().await.is_ok() && supervisor.send(Event::ClientsWait(id)).is_ok() {
        again.notified().await;
    }
}
