//! The listening addresses: binds them at the start, and again later if that failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::event::Event;
use super::hub::Hub;
use super::services::Services;
use crate::core::inherited::{Assignment, InheritedSocket, assign};
use crate::listen::{ListenerId, Slot};
use crate::log::event::LogEvent;
use crate::model::ids::ServiceId;
use crate::model::level::Level;
use crate::model::listen::Address;
use crate::sys;
use crate::sys::net::Inherited;

/// How many times the server tries at the start to bind an address that is in use.
const MOMENTS: u32 = 6;
/// The pause between two tries. Starting a program takes far less, even on a busy machine.
const MOMENT: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub slots: BTreeMap<ListenerId, Slot>,
    /// Sockets from the service manager, each with the listener that uses it. An entry stays when
    /// its listener closes: a bare port stays limited to the address that the manager chose.
    pub inherited: Vec<(InheritedSocket, Option<ListenerId>)>,
    last: usize,
}

impl Listeners {
    pub fn get(&self, id: ListenerId) -> Option<&Slot> {
        self.slots.get(&id)
    }

    pub fn of(&self, service: ServiceId) -> impl Iterator<Item = &Slot> {
        self.slots.values().filter(move |slot| slot.service == service)
    }

    pub fn serve_anything(&self) -> bool {
        self.slots.values().any(|slot| slot.listener().is_some())
    }

    pub async fn close_all(&mut self) {
        let closing: Vec<_> = self.slots.values_mut().filter_map(Slot::close).collect();
        for closed in closing {
            let _ = closed.await;
        }
    }

    pub fn broke(&mut self, id: ListenerId, error: &std::io::Error, services: &Services, hub: &Hub) {
        if let Some(slot) = self.slots.get_mut(&id) {
            drop(slot.close());
        }
        self.bind_later(id, error, services, hub);
    }

    /// Creates a slot for each wanted address, with its inherited socket if there is one. Closes
    /// inherited sockets that no service wants, because their clients would wait forever.
    pub fn make_slots(
        &mut self,
        wanted: &[(ServiceId, Address)],
        inherited: Vec<Inherited>,
        services: &Services,
        hub: &Hub,
    ) {
        let sockets: Vec<_> = inherited.iter().map(|socket| socket.given().clone()).collect();
        let sockets = named_as_wanted(sockets, wanted);
        let Assignment { listeners, unwanted } = assign(wanted, &sockets);
        for place in unwanted {
            let message = format!(
                "the service manager passed a socket for {}, on which no service listens; it is closed",
                sockets[place].address
            );
            hub.say(Level::Warning, message, None);
        }
        self.inherited = sockets.into_iter().map(|socket| (socket, None)).collect();
        let mut inherited: Vec<_> = inherited.into_iter().map(Some).collect();
        for (service, address, place) in listeners {
            let socket = place.and_then(|place| inherited[place].take());
            let id = self.add_slot(service, address, socket, services);
            if let Some(place) = place {
                self.inherited[place].1 = id;
            }
        }
    }

    pub fn add_slot(
        &mut self,
        service: ServiceId,
        address: Address,
        inherited: Option<Inherited>,
        services: &Services,
    ) -> Option<ListenerId> {
        let plan = services.plan(service)?;
        let slot = Slot::new(service, address, plan.listen_options(), inherited);
        self.last += 1;
        let id = ListenerId(self.last);
        self.slots.insert(id, slot);
        Some(id)
    }

    /// Whether all addresses are bound, except those of an address family that the host lacks.
    pub fn is_complete(&self) -> bool {
        self.slots.values().all(|slot| slot.listener().is_some() || slot.is_missing)
    }

    pub fn addresses(&self) -> Vec<String> {
        let listeners = self.slots.values().filter_map(|slot| slot.listener());
        listeners
            .filter_map(|listener| listener.local_addr().ok())
            .map(|address| address.to_string())
            .collect()
    }

    /// Binds all slots. An address in use gets more tries: a child of a killed server may hold its
    /// listeners until exec.
    pub async fn bind_all(&mut self, services: &Services, hub: &Hub) {
        let mut said = false;
        let mut ids: Vec<_> = self.slots.keys().copied().collect();
        for left in (0..MOMENTS).rev() {
            let mut in_use = Vec::new();
            for id in ids {
                match self.try_bind(id, hub).await {
                    Err(error) if left > 0 && sys::net::may_be_free_soon(&error) => in_use.push(id),
                    bound => said = self.first_bound(id, bound, said, services, hub),
                }
            }
            if in_use.is_empty() {
                return;
            }
            ids = in_use;
            tokio::time::sleep(MOMENT).await;
        }
    }

    /// Returns whether a missing address family was reported, now or before.
    pub async fn bind_new(&mut self, id: ListenerId, said: bool, services: &Services, hub: &Hub) -> bool {
        let bound = self.try_bind(id, hub).await;
        self.first_bound(id, bound, said, services, hub)
    }

    fn first_bound(
        &mut self,
        id: ListenerId,
        bound: std::io::Result<()>,
        said: bool,
        services: &Services,
        hub: &Hub,
    ) -> bool {
        let Err(error) = bound else { return said };
        let Some(slot) = self.slots.get_mut(&id) else { return said };
        // A host without IPv6 is not at fault: log one line and do not retry.
        if sys::net::family_is_missing(&error) && slot.address.is_all() {
            slot.is_missing = true;
            if !said {
                hub.log.event(LogEvent::FamilyMissing { address: slot.address.clone() });
            }
            return true;
        }
        self.bind_later(id, &error, services, hub);
        said
    }

    async fn try_bind(&mut self, id: ListenerId, hub: &Hub) -> std::io::Result<()> {
        let Some(slot) = self.slots.get_mut(&id) else { return Ok(()) };
        let sender = hub.sender.clone();
        let bound = slot.bind(id, move |event| sender.send(Event::Listener(event))).await;
        if let Some(listener) = slot.listener()
            && let Some(remark) = listener.remark()
        {
            let address = listener.local_addr().unwrap_or_else(|_| slot.address.clone());
            hub.say(Level::Warning, format!("{address}: {remark}"), None);
        }
        bound
    }

    pub async fn bind_again(&mut self, id: ListenerId, services: &Services, hub: &Hub) {
        let bound = self.try_bind(id, hub).await;
        let Some(slot) = self.slots.get(&id) else { return };
        match bound {
            Ok(()) => {
                let (service, address) = (services.name(slot.service), slot.address.clone());
                hub.log.event(LogEvent::ListenRecovered { service, address });
            }
            Err(error) => self.bind_later(id, &error, services, hub),
        }
    }

    fn bind_later(&mut self, id: ListenerId, error: &std::io::Error, services: &Services, hub: &Hub) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let retry = slot.failed(error);
        let (service, address) = (slot.service, slot.address.clone());
        hub.log.event(LogEvent::ListenFailed {
            service: services.name(service),
            cause: error.to_string(),
            hint: sys::net::bind_hint(error, &address),
            address,
            retry_seconds: retry,
        });
        hub.sender.send_later(retry, Event::Rebind(id));
    }
}

/// Renames inherited sockets to the configured path: `/var/run/name` may be `/run/name`.
pub(super) fn named_as_wanted(
    given: Vec<InheritedSocket>,
    wanted: &[(ServiceId, Address)],
) -> Vec<InheritedSocket> {
    let paths = wanted.iter().filter_map(|(_, address)| match address {
        Address::Unix(path) => Some((resolved(path), address)),
        Address::Tcp(_) => None,
    });
    let paths: Vec<_> = paths.collect();
    let named = |given: InheritedSocket| {
        let Address::Unix(path) = &given.address else { return given };
        let own = resolved(path);
        match paths.iter().find(|(resolved, _)| *resolved == own) {
            Some((_, address)) => InheritedSocket { address: (*address).clone(), ..given },
            None => given,
        }
    };
    given.into_iter().map(named).collect()
}

/// Resolves links in a file's directory. A path that cannot be resolved stays unchanged.
fn resolved(path: &Path) -> PathBuf {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
    match std::fs::canonicalize(folder) {
        Ok(folder) => sys::paths::plain(folder).join(name),
        Err(_) => path.to_owned(),
    }
}
