//! The addresses of services: bound, or tried again later.

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

#[derive(Debug)]
pub struct Slot {
    pub service: ServiceId,
    pub address: Address,
    options: ListenOptions,
    inherited: Option<Inherited>,
    retry: Retry,
    /// The host lacks this address family, so the slot is not tried again.
    pub is_missing: bool,
    /// A previous address that overlaps this one. The slot listens on it until it can bind its own.
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

    /// Binds and reports waiting clients. If that fails, binds the address of `instead`.
    pub async fn bind(
        &mut self,
        id: ListenerId,
        tell: impl Fn(ListenEvent) + Send + 'static,
    ) -> std::io::Result<()> {
        if let Some(closing) = self.close() {
            let _ = closing.await;
        }
        let listener = match self.inherited.take() {
            Some(inherited) => Listener::inherit(inherited, &self.options),
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

    /// Records a failed bind. Returns when to try again.
    pub fn failed(&mut self, error: &std::io::Error) -> Duration {
        self.retry.failed(error.to_string())
    }

    pub fn fault(&self) -> Option<&str> {
        self.retry.cause()
    }

    /// If the new address is not free, the slot listens on the old one meanwhile.
    pub fn replaces(&mut self, other: &Slot) {
        let own = || (other.address.clone(), other.options.unix.clone());
        self.instead = Some(other.instead.clone().unwrap_or_else(own));
    }

    /// Whether the socket can stay as it is with these new options.
    pub fn may_stay(&self, options: &ListenOptions) -> bool {
        match self.address {
            Address::Tcp(_) => !CAPABILITIES.serial_sockets || self.options.stdio == options.stdio,
            Address::Unix(_) => self.options.unix == options.unix,
        }
    }

    pub fn adopt(&mut self, service: ServiceId, options: ListenOptions) {
        self.service = service;
        if let Some(bound) = self.bound.as_ref().filter(|_| self.options.keepalive != options.keepalive) {
            // If a listening socket refuses the option, the next one gets it.
            let _ = bound.listener.set_keepalive(options.keepalive);
        }
        self.options = options;
    }

    pub fn listener(&self) -> Option<&Arc<Listener>> {
        self.bound.as_ref().map(|bound| &bound.listener)
    }

    /// Asks for a report when more clients wait.
    pub fn wait_again(&self) {
        if let Some(bound) = &self.bound {
            bound.again.notify_one();
        }
    }

    /// Refuses the clients in the backlog. The socket is closed once the returned task has ended.
    pub fn close(&mut self) -> Option<JoinHandle<()>> {
        let Bound { watch, .. } = self.bound.take()?;
        watch.abort();
        Some(watch)
    }
}

/// Reports waiting clients once, until the supervisor has looked. They wait at no cost.
async fn watch(id: ListenerId, listener: Arc<Listener>, again: Arc<Notify>, tell: impl Fn(ListenEvent)) {
    while listener.readable().await.is_ok() {
        tell(ListenEvent::ClientsWait(id));
        again.notified().await;
    }
}
