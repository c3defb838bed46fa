//! Changes the addresses at a reload. Binds new ones before it closes old ones, unless they
//! overlap.

use super::hub::Hub;
use super::listeners::{Listeners, named_as_wanted};
use super::services::Services;
use crate::core::inherited::{Assignment, InheritedSocket, assign};
use crate::core::reload::changes;
use crate::listen::{ListenerId, Slot};
use crate::model::ids::ServiceId;
use crate::model::listen::Address;

/// See [`Listeners::inherited_for`].
type InheritedListeners = (Vec<(ListenerId, ServiceId)>, Vec<ListenerId>, Vec<(ServiceId, Address)>);

impl Listeners {
    pub async fn change(&mut self, wanted: &[(ServiceId, Address)], services: &Services, hub: &Hub) {
        let (kept, unwanted, wanted) = self.inherited_for(wanted);
        for (id, service) in kept {
            self.adopt(id, service, services);
        }
        // A slot must be bound anew if the mode or owner of its Unix socket changes. On Windows the
        // same holds if programs get their connections themselves.
        let stays = |slot: &Slot| {
            let want = wanted.iter().find(|(_, address)| *address == slot.address);
            let plan = want.and_then(|(service, _)| services.plan(*service));
            plan.is_none_or(|plan| slot.may_stay(&plan.listen_options()))
        };
        let own = self
            .slots
            .iter()
            .filter(|(id, _)| self.inherited.iter().all(|(_, inherited)| *inherited != Some(**id)));
        let (ids, now): (Vec<ListenerId>, Vec<(Address, bool)>) =
            own.map(|(id, slot)| (*id, (slot.address.clone(), stays(slot)))).unzip();
        let targets: Vec<Address> = wanted.iter().map(|(_, address)| address.clone()).collect();
        let changes = changes(&now, &targets);
        let mut said = true;
        for want in changes.bind {
            let (service, address) = &wanted[want];
            if let Some(id) = self.add_slot(*service, address.clone(), None, services) {
                said = self.bind_new(id, said, services, hub).await;
            }
        }
        for (place, want) in changes.keep {
            self.adopt(ids[place], wanted[want].0, services);
        }
        for id in unwanted.into_iter().chain(changes.close.into_iter().map(|place| ids[place])) {
            self.close(id).await;
        }
        for (want, old) in changes.replace {
            let (service, address) = &wanted[want];
            let mut closed = Vec::new();
            for place in old {
                closed.extend(self.close(ids[place]).await);
            }
            if let Some(id) = self.add_slot(*service, address.clone(), None, services) {
                if let (Some(slot), Some(old)) = (self.slots.get_mut(&id), closed.first()) {
                    slot.replaces(old);
                }
                said = self.bind_new(id, said, services, hub).await;
            }
        }
    }

    /// Returns three lists: inherited sockets that stand for a wanted address, with their service;
    /// inherited sockets that no service wants; and the addresses to bind. A wanted address whose
    /// inherited socket is closed is among the addresses to bind.
    fn inherited_for(&self, wanted: &[(ServiceId, Address)]) -> InheritedListeners {
        let with_socket = |(socket, id): &(InheritedSocket, Option<ListenerId>)| {
            let id = id.filter(|id| self.slots.contains_key(id));
            // Leave out a closed dual-stack socket: the server binds a socket for each family
            // instead.
            (id.is_some() || !socket.is_bare_port()).then(|| (socket.clone(), id))
        };
        let (sockets, ids): (Vec<_>, Vec<_>) = self.inherited.iter().filter_map(with_socket).unzip();
        let sockets = named_as_wanted(sockets, wanted);
        let Assignment { listeners, unwanted } = assign(wanted, &sockets);
        let mut kept = Vec::new();
        let mut others = Vec::new();
        for (service, address, place) in listeners {
            match place.and_then(|place| ids[place]) {
                Some(id) => kept.push((id, service)),
                // Two inherited sockets may have had the same address.
                None if others.contains(&(service, address.clone())) => {}
                None => others.push((service, address)),
            }
        }
        (kept, unwanted.into_iter().filter_map(|place| ids[place]).collect(), others)
    }

    fn adopt(&mut self, id: ListenerId, service: ServiceId, services: &Services) {
        let Some(options) = services.plan(service).map(|plan| plan.listen_options()) else { return };
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.adopt(service, options);
        }
    }

    async fn close(&mut self, id: ListenerId) -> Option<Slot> {
        let mut slot = self.slots.remove(&id)?;
        if let Some(closing) = slot.close() {
            let _ = closing.await;
        }
        Some(slot)
    }
}
