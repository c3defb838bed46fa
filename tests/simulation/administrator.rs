//! The simulated administrator, who changes services and their addresses.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wininetd::core::reload::{changes, overlap};
use wininetd::model::ids::ServiceId;
use wininetd::model::limits::Rate;
use wininetd::model::listen::Address;
use wininetd::model::plan::{Access, Admit, WhenFull};

use super::world::{SERVICES, Service, World};

impl World {
    fn admit(&mut self) -> Admit {
        let random = &mut self.random;
        let mut rate = || {
            let rate = Rate {
                count: 1 + u32::try_from(random.below(3)).unwrap(),
                per: *random.pick(&[Duration::from_secs(1), Duration::from_secs(60)]),
            };
            random.once_in(3).then_some(rate)
        };
        let (rate, rate_per_source) = (rate(), rate());
        let nets =
            ["192.0.2.0/24", "192.0.2.1/32", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "0.0.0.0/0"];
        let random = &mut self.random;
        let mut list =
            || -> Vec<_> { (0..random.below(4)).map(|_| random.pick(&nets).parse().unwrap()).collect() };
        let (allow, deny) = (list(), list());
        let access = Access { allow: self.random.once_in(4).then_some(allow), deny };
        let access = if self.random.once_in(2) { Access::default() } else { access };
        Admit {
            access,
            max_connections: 1 + self.random.below(4),
            max_connections_per_source: self.random.once_in(2).then(|| 1 + self.random.below(3)),
            when_full: *self.random.pick(&[WhenFull::Wait, WhenFull::Refuse]),
            rate,
            rate_per_source,
        }
    }

    pub fn reload(&mut self) {
        if self.stop.is_some() {
            return;
        }
        self.sums.reloads += 1;
        self.total = 1 + self.random.below(8);
        let live = self.sessions.len();
        let mut left = std::mem::take(&mut self.services);
        for number in 0..SERVICES {
            let id = ServiceId(number + 1);
            let before = left.remove(&id);
            if self.random.once_in(4) {
                // The system resets the clients in the backlog of a closed listener.
                self.sums.arrived -= before.map_or(0, |gone| gone.backlog.len() as u64);
                continue;
            }
            let keeps = self.random.once_in(2);
            let admit = match &before {
                Some(before) if keeps => before.admit.clone(),
                _ => self.admit(),
            };
            let ip = [[0, 0, 0, 0], [127, 0, 0, 1], [127, 0, 0, 2]][self.random.below(3)];
            let address = Address::Tcp((ip, 80 + u16::try_from(number).unwrap()).into());
            let mut service = before.unwrap_or_else(|| Service {
                admit: admit.clone(),
                limit: 0,
                addresses: Vec::new(),
                backlog: VecDeque::new(),
                broken: false,
                begins: Vec::new(),
                begins_of: BTreeMap::new(),
                closed_until: None,
                next_pause: Duration::ZERO,
                probe: None,
            });
            if service.admit.rate != admit.rate {
                service.begins.clear();
            }
            if service.admit.rate_per_source != admit.rate_per_source {
                service.begins_of.clear();
            }
            service.limit = admit.max_connections;
            service.admit = admit;
            service.addresses = vec![address];
            (service.closed_until, service.probe, service.next_pause) = (None, None, Duration::from_secs(1));
            self.services.insert(id, service);
        }
        let services = self.services.iter().map(|(id, service)| (*id, &service.admit, service.limit));
        self.admission.configure(self.total, services);
        for gone in (1..=SERVICES).map(ServiceId).filter(|id| !self.services.contains_key(id)) {
            // No later event reports these refusals, so they count as reported.
            let before: u64 = self.refusals.take_all_suppressed().iter().map(|(_, count)| count).sum();
            self.told += before;
            self.refusals.forget(|(service, _)| *service == gone);
        }
        assert_eq!(self.admission.live(), live, "sessions go on");
        self.listen();
    }

    /// Changes the listeners. Each wanted address is bound at the end.
    fn listen(&mut self) {
        let wanted: Vec<Address> =
            self.services.values().flat_map(|service| service.addresses.clone()).collect();
        let now: Vec<_> = self.bound.iter().map(|address| (address.clone(), true)).collect();
        let found = changes(&now, &wanted);
        let kept: Vec<Address> = found.keep.iter().map(|(place, _)| now[*place].0.clone()).collect();
        for want in &found.bind {
            // The server has not closed the old listeners yet.
            assert!(!self.bound.iter().any(|old| overlap(old, &wanted[*want])), "bound before it is closed");
        }
        self.bound.extend(found.bind.iter().map(|want| wanted[*want].clone()));
        let closed: Vec<Address> = found.close.iter().map(|place| now[*place].0.clone()).collect();
        self.bound.retain(|address| !closed.contains(address));
        for (want, old) in found.replace {
            let old: Vec<_> = old.iter().map(|place| now[*place].0.clone()).collect();
            assert!(kept.iter().all(|kept| !old.contains(kept)), "unchanged listeners keep their sockets");
            self.bound.retain(|address| !old.contains(address));
            assert!(!self.bound.iter().any(|other| overlap(other, &wanted[want])), "it can be bound");
            self.bound.push(wanted[want].clone());
        }
        let (mut bound, mut wanted) = (self.bound.clone(), wanted);
        bound.sort();
        wanted.sort();
        assert_eq!(bound, wanted);
    }
}
