//! Which addresses are listened on, and binding them: at the start, and again
//! later where it failed.

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

/// At the start an address in use is tried so often
const MOMENTS: u32 = 6;
/// after so long each; starting a program takes far less, on a busy machine as well.
const MOMENT: Duration = Duration::from_millis(50);

/// The addresses of all services.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub slots: BTreeMap<ListenerId, Slot>,
    /// What a service manager has opened for us, with the listener that has the
    /// socket. Kept when that is closed: a bare port is open where the manager
    /// opened it and nowhere else, whatever is reloaded.
    pub inherited: Vec<(InheritedSocket, Option<ListenerId>)>,
    last: usize,
}

impl Listeners {
    pub fn get(&self, id: ListenerId) -> Option<&Slot> {
        self.slots.get(&id)
    }

    /// The slots of one service.
    pub fn of(&self, service: ServiceId) -> impl Iterator<Item = &Slot> {
        self.slots.values().filter(move |slot| slot.service == service)
    }

    /// Whether any address is bound.
    pub fn serve_anything(&self) -> bool {
        self.slots.values().any(|slot| slot.listener().is_some())
    }

    /// Closes all sockets, and returns once they are closed.
    pub async fn close_all(&mut self) {
        let closing: Vec<_> = self.slots.values_mut().filter_map(Slot::close).collect();
        for closed in closing {
            let _ = closed.await;
        }
    }

    /// The system says that a listener does not work: it is bound anew later.
    pub fn broke(&mut self, id: ListenerId, error: &std::io::Error, services: &Services, hub: &Hub) {
        if let Some(slot) = self.slots.get_mut(&id) {
            drop(slot.close());
        }
        self.bind_later(id, error, services, hub);
    }

    /// A slot for each address that is wanted, with the socket that stands for it
    /// where one was given. A socket that no service wants is closed, or its clients would wait
    /// for ever.
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
                "the service manager passed a socket for {}, which no service listens on; it is closed",
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

    /// Whether every address that this host has is bound.
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

    /// Binds all of them for the first time. What is in use is tried again for a
    /// moment before that is told: a program that a killed server was just
    /// starting has all of that one's listeners until it begins.
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

    /// Binds a slot for the first time. True if it was said that a family is
    /// missing, now or before.
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
        // A host without IPv6 is as it should be: one line, no retry.
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
        // Removed by a reload, and with it the need.
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

/// Passed sockets, each with the path under which it is wanted: /var/run/name is
/// /run/name where one folder is a link to the other.
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

/// A file's path with its folder behind all links. What cannot be resolved stays as it is.
fn resolved(path: &Path) -> PathBuf {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
    match std::fs::canonicalize(folder) {
        Ok(folder) => sys::paths::plain(folder).join(name),
        Err(_) => path.to_owned(),
    }
}
