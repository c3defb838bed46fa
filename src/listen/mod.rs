//! Addresses of services: bound, or tried again now and then.

mod event;

pub use event::{ListenEvent, ListenerId};

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::core::backoff::Retry;
use crate::model::ids::ServiceId;
use crate::model::listen::ListenOptions;
use crate::model::listen::{Address, UnixSocket};
use crate::sys::CAPABILITIES;
use crate::sys::net::{Inherited, Listener};

/// One address of a service: bound, or tried again now and then.
#[derive(Debug)]
pub struct Slot {
    /// The service.
    pub service: ServiceId,
    /// Where.
    pub address: Address,
    options: ListenOptions,
    /// A socket that a service manager has opened for it, until it is used.
    inherited: Option<Inherited>,
    retry: Retry,
    /// The host has no such address family: it is not waited for.
    pub is_missing: bool,
    /// An address of before that is listened on until this one can be, since
    /// the two overlap.
    instead: Option<(Address, UnixSocket)>,
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    listener: Arc<Listener>,
    watch: JoinHandle<()>,
    again: Arc<Notify>,
}

impl Slot {
    /// Not bound yet.
    pub fn new(
        service: ServiceId,
        address: Address,
        options: ListenOptions,
        inherited: Option<Inherited>,
    ) -> Self {
        Slot {
            service,
            address,
            options,
            inherited,
            retry: Retry::default(),
            is_missing: false,
            instead: None,
            bound: None,
        }
    }

    /// Binds, and tells from now on when clients wait. Where that fails, and an
    /// address of before overlaps it, that one is bound again.
    pub async fn bind(
        &mut self,
        id: ListenerId,
        tell: impl Fn(ListenEvent) + Send + 'static,
    ) -> std::io::Result<()> {
        if let Some(closing) = self.close() {
            let _ = closing.await;
        }
        let listener = match self.inherited.take() {
            Some(inherited) => Listener::inherit(inherited, self.options.keepalive),
            None => Listener::bind(&self.address, &self.options),
        };
        match (listener, &self.instead) {
            (Ok(listener), _) => {
                self.instead = None;
                self.retry.succeeded();
                self.watch(id, listener, tell);
                Ok(())
            }
            (Err(error), None) => Err(error),
            (Err(error), Some((instead, unix))) => {
                let options = ListenOptions { unix: unix.clone(), ..self.options.clone() };
                if let Ok(listener) = Listener::bind(instead, &options) {
                    self.watch(id, listener, tell);
                }
                Err(error)
            }
        }
    }

    fn watch(&mut self, id: ListenerId, listener: Listener, tell: impl Fn(ListenEvent) + Send + 'static) {
        let listener = Arc::new(listener);
        let again = Arc::new(Notify::new());
        let watch = tokio::spawn(watch(id, listener.clone(), again.clone(), tell));
        self.bound = Some(Bound { listener, watch, again });
    }

    /// It could not be bound. When to try again.
    pub fn failed(&mut self, error: &std::io::Error) -> Duration {
        self.retry.failed(error.to_string())
    }

    /// Why it is not bound, if it should be.
    pub fn fault(&self) -> Option<&str> {
        self.retry.cause()
    }

    /// Takes the place of a slot that was closed for it: should its own address
    /// not be free, the other's is listened on meanwhile.
    pub fn replaces(&mut self, other: &Slot) {
        let own = || (other.address.clone(), other.options.unix.clone());
        self.instead = Some(other.instead.clone().unwrap_or_else(own));
    }

    /// Whether a socket that was made with these options can stay as it is.
    pub fn may_stay(&self, options: &ListenOptions) -> bool {
        match self.address {
            Address::Tcp(_) => !CAPABILITIES.serial_sockets || self.options.stdio == options.stdio,
            Address::Unix(_) => self.options.unix == options.unix,
        }
    }

    /// It serves another service from now on, or the same with other options.
    pub fn adopt(&mut self, service: ServiceId, options: ListenOptions) {
        self.service = service;
        if let Some(bound) = self.bound.as_ref().filter(|_| self.options.keepalive != options.keepalive) {
            // An option that a listening socket refuses is set on the next one.
            let _ = bound.listener.set_keepalive(options.keepalive);
        }
        self.options = options;
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
async fn watch(id: ListenerId, listener: Arc<Listener>, again: Arc<Notify>, tell: impl Fn(ListenEvent)) {
    while listener.readable().await.is_ok() {
        tell(ListenEvent::ClientsWait(id));
        again.notified().await;
    }
}
