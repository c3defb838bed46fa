//! Which addresses are listened on, and binding them: at the start, and again
//! later where it failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Event, Served, Supervisor};
use crate::core::capacity::{share_of_total, total_from_descriptors};
use crate::core::inherited::{Assignment, Given, assign};
use crate::listen::{ListenerId, Slot};
use crate::log::event::Event as Logged;
use crate::model::ids::ServiceId;
use crate::model::level::Level;
use crate::model::listen::Address;
use crate::model::plan::Plan;
use crate::session::StderrBudget;
use crate::sys;
use crate::sys::net::Inherited;

/// At the start an address in use is tried so often
const MOMENTS: u32 = 6;
/// after so long each; starting a program takes far less, on a busy machine as well.
const MOMENT: Duration = Duration::from_millis(50);

impl Supervisor {
    /// The services of a plan that are served, each with its number: that of
    /// before, where one of its name was there.
    pub(super) fn take_services(&mut self, plan: &Plan) -> Vec<ServiceId> {
        // While those that go have their names.
        self.tell_refusals(true);
        let mut before = std::mem::take(&mut self.services);
        self.retired.retain(|(id, _)| {
            let stays = self.admission.live_of(*id) > 0;
            if !stays {
                self.refusals.forget(|(service, _)| service == id);
            }
            stays
        });
        let mut ids = Vec::new();
        for service in plan.enabled() {
            let known = before.iter().find(|(_, served)| served.service.name == service.name);
            let retired = || self.retired.iter().find(|(_, old)| old.name == service.name).map(|(id, _)| *id);
            let id = known.map(|(id, _)| *id).or_else(retired).unwrap_or_else(|| {
                self.last_service += 1;
                ServiceId(self.last_service)
            });
            let served = match before.remove(&id) {
                Some(served) => Served { service: service.clone(), ..served },
                None => Served {
                    service: service.clone(),
                    served: 0,
                    refused: 0,
                    failed: 0,
                    stderr_budget: StderrBudget::new(),
                },
            };
            self.services.insert(id, served);
            self.retired.retain(|(other, _)| *other != id);
            ids.push(id);
        }
        for (gone, served) in before {
            self.retired.push((gone, served.service));
        }
        self.order.clone_from(&plan.services);
        self.server.clone_from(&plan.server);
        ids
    }

    /// Limits hold from now on as the plan says, as far as there are descriptors.
    pub(super) fn configure_admission(&mut self, plan: &Plan, ids: &[ServiceId]) {
        let each = plan.enabled().map(|service| service.descriptors()).max().unwrap_or(1);
        let waiting: usize = plan.enabled().map(|service| service.descriptors_of_waiting()).sum();
        let kept = self.slots.len() + waiting;
        let room = total_from_descriptors(sys::process::descriptor_limit(), kept, each);
        let most = plan.enabled().map(|service| service.admit.max_connections).max().unwrap_or(0);
        let most = most.max(plan.server.max_connections.unwrap_or(0));
        if room < most {
            let message = format!("the descriptor limit leaves room for {room} connections at once");
            let hint = Some("raise it (ulimit -n, LimitNOFILE=)".to_owned());
            self.log.event(Logged::Configuration { level: Level::Warning, message, hint });
        }
        let total = plan.server.max_connections.map_or(room, |most| most.min(room));
        let limits = ids.iter().zip(plan.enabled()).map(|(&id, service)| {
            let limit = share_of_total(service.admit.max_connections, total, ids.len());
            (id, &service.admit, limit)
        });
        self.admission.configure(total, limits);
    }

    /// A slot for each address that is wanted, with the socket that stands for it
    /// where one was given. What nobody wants is closed, or its clients would wait
    /// for ever.
    pub(super) fn make_slots(&mut self, plan: &Plan, ids: &[ServiceId], given: Vec<Inherited>) {
        let wanted: Vec<_> = ids
            .iter()
            .zip(plan.enabled())
            .flat_map(|(&id, service)| service.listen.iter().map(move |address| (id, address.clone())))
            .collect();
        let sockets: Vec<_> = given.iter().map(|socket| socket.given().clone()).collect();
        let sockets = named_as_wanted(sockets, &wanted);
        let Assignment { listeners, unwanted } = assign(&wanted, &sockets);
        for place in unwanted {
            let message = format!(
                "the service manager passed a socket for {}, which no service listens on; it is closed",
                sockets[place].address
            );
            self.log.event(Logged::Configuration { level: Level::Warning, message, hint: None });
        }
        self.given = sockets.into_iter().map(|socket| (socket, None)).collect();
        let mut given: Vec<_> = given.into_iter().map(Some).collect();
        for (service, address, place) in listeners {
            let inherited = place.and_then(|place| given[place].take());
            let id = self.add_slot(service, address, inherited);
            if let Some(place) = place {
                self.given[place].1 = id;
            }
        }
    }

    pub(super) fn add_slot(
        &mut self,
        service: ServiceId,
        address: Address,
        inherited: Option<Inherited>,
    ) -> Option<ListenerId> {
        let plan = &self.services.get(&service)?.service;
        let slot = Slot::new(service, address, plan.listen_options(), inherited);
        self.last_listener += 1;
        let id = ListenerId(self.last_listener);
        self.slots.insert(id, slot);
        Some(id)
    }

    /// Whether every address that this host has is bound.
    pub(super) fn is_complete(&self) -> bool {
        self.slots.values().all(|slot| slot.listener().is_some() || slot.is_missing)
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        let listeners = self.slots.values().filter_map(|slot| slot.listener());
        listeners
            .filter_map(|listener| listener.local_addr().ok())
            .map(|address| address.to_string())
            .collect()
    }

    /// Binds all of them for the first time. What is in use is tried again for a
    /// moment before that is told: a program that a killed server was just
    /// starting has all of that one's listeners until it begins.
    pub(super) async fn bind_all(&mut self) {
        let mut said = false;
        let mut ids: Vec<_> = self.slots.keys().copied().collect();
        for left in (0..MOMENTS).rev() {
            let mut in_use = Vec::new();
            for id in ids {
                match self.try_bind(id).await {
                    Err(error) if left > 0 && sys::net::may_be_free_soon(&error) => in_use.push(id),
                    bound => said = self.first_bound(id, bound, said),
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
    pub(super) async fn bind_new(&mut self, id: ListenerId, said: bool) -> bool {
        let bound = self.try_bind(id).await;
        self.first_bound(id, bound, said)
    }

    fn first_bound(&mut self, id: ListenerId, bound: std::io::Result<()>, said: bool) -> bool {
        let Err(error) = bound else { return said };
        let Some(slot) = self.slots.get_mut(&id) else { return said };
        // A host without IPv6 is as it should be: one line, no retry.
        if sys::net::family_is_missing(&error) && slot.address.is_all() {
            slot.is_missing = true;
            if !said {
                self.log.event(Logged::FamilyMissing { address: slot.address.clone() });
            }
            return true;
        }
        self.bind_later(id, &error);
        said
    }

    async fn try_bind(&mut self, id: ListenerId) -> std::io::Result<()> {
        // Removed by a reload, and with it the need.
        let Some(slot) = self.slots.get_mut(&id) else { return Ok(()) };
        let sender = self.sender.clone();
        let bound = slot.bind(id, move |event| sender.send(Event::Listener(event))).await;
        if let Some(listener) = slot.listener()
            && let Some(remark) = listener.remark()
        {
            let address = listener.local_addr().unwrap_or_else(|_| slot.address.clone());
            self.log.event(Logged::Configuration {
                level: Level::Warning,
                message: format!("{address}: {remark}"),
                hint: None,
            });
        }
        bound
    }

    pub(super) async fn bind_again(&mut self, id: ListenerId) {
        let bound = self.try_bind(id).await;
        let Some(slot) = self.slots.get(&id) else { return };
        match bound {
            Ok(()) => {
                let (service, address) = (self.service_name(slot.service), slot.address.clone());
                self.log.event(Logged::ListenRecovered { service, address });
            }
            Err(error) => self.bind_later(id, &error),
        }
    }

    pub(super) fn bind_later(&mut self, id: ListenerId, error: &std::io::Error) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let retry = slot.failed(error);
        let (service, address) = (slot.service, slot.address.clone());
        self.log.event(Logged::ListenFailed {
            service: self.service_name(service),
            cause: error.to_string(),
            hint: sys::net::bind_hint(error, &address),
            address,
            retry_seconds: retry,
        });
        self.sender.send_later(retry, Event::Rebind(id));
    }

    pub(super) fn service_name(&self, service: ServiceId) -> String {
        self.services.get(&service).map_or_else(String::new, |served| served.service.name.clone())
    }
}

/// Passed sockets, each with the path under which it is wanted: /var/run/name is
/// /run/name where one folder is a link to the other.
pub(super) fn named_as_wanted(given: Vec<Given>, wanted: &[(ServiceId, Address)]) -> Vec<Given> {
    let paths = wanted.iter().filter_map(|(_, address)| match address {
        Address::Unix(path) => Some((resolved(path), address)),
        Address::Tcp(_) => None,
    });
    let paths: Vec<_> = paths.collect();
    let named = |given: Given| {
        let Address::Unix(path) = &given.address else { return given };
        let own = resolved(path);
        match paths.iter().find(|(resolved, _)| *resolved == own) {
            Some((_, address)) => Given { address: (*address).clone(), ..given },
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
