//! Who may connect and who may start: rules, limits in all, for each service
//! and each source, rates, and the pauses of services that fail by themselves.
//!
//! Before a client is accepted only its service is known (`may_connect`); then
//! so is its source (`may_start`). Behind a proxy that is known later: its
//! connection enters first (`may_enter`), and goes on when a header has named
//! the client (`may_go_on`). Whoever is refused takes nothing from others: no
//! place and no token.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::access::{Decision, decide};
use super::rate::{Bucket, SourceBuckets};
use super::refusals::Reason;
use super::service_admission::{Live, ServiceAdmission};
use super::slots::Slots;
use super::throttle::{Gate, Throttle};
use crate::model::ids::{ServiceId, SessionId};
use crate::model::peer::{Peer, Source};
use crate::model::plan::{Admit, WhenFull};

/// What to do with a client that waits to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// Accept it; who it is decides.
    Accept,
    /// Leave it waiting until a session ends.
    Wait,
    /// Leave it waiting for so long.
    WaitFor(Duration),
}

/// What a client that was admitted is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// How many connections its source has at the service now.
    pub connections: usize,
    /// It tries whether the service works again.
    pub is_probe: bool,
}

/// All live sessions, counted, and what may join them.
#[derive(Debug)]
pub struct Admission {
    total: Slots,
    services: HashMap<ServiceId, ServiceAdmission>,
    /// Live sessions of each source and service. No larger than the sessions.
    sources: HashMap<(ServiceId, Source), usize>,
    buckets: SourceBuckets,
    sessions: HashMap<SessionId, Live>,
}

impl Admission {
    /// Nobody is there yet, and no service.
    pub fn new(total: usize) -> Self {
        Admission {
            total: Slots::new(total),
            services: HashMap::new(),
            sources: HashMap::new(),
            buckets: SourceBuckets::default(),
            sessions: HashMap::new(),
        }
    }

    /// From now on there are these services, each with the most connections
    /// that it gets of the total. What was counted stays counted; rates that
    /// did not change go on; pauses are over, since somebody may have mended
    /// what they are for.
    pub fn configure<'a>(
        &mut self,
        total: usize,
        services: impl IntoIterator<Item = (ServiceId, &'a Admit, usize)>,
    ) {
        self.total.limit = total;
        for entrance in self.services.values_mut() {
            entrance.retired = true;
        }
        for (id, admit, limit) in services {
            let new = || ServiceAdmission {
                admit: admit.clone(),
                slots: Slots::new(limit),
                bucket: None,
                throttle: Throttle::new(),
                preludes: VecDeque::new(),
                retired: false,
            };
            let entrance = self.services.entry(id).or_insert_with(new);
            entrance.retired = false;
            entrance.throttle.reset();
            entrance.slots.limit = limit;
            let kept = entrance.bucket.filter(|bucket| Some(bucket.rate()) == admit.rate);
            entrance.bucket = kept.or_else(|| admit.rate.map(Bucket::new));
            entrance.admit = admit.clone();
        }
        self.services.retain(|_, entrance| !entrance.retired || entrance.slots.live > 0);
    }

    /// Sessions that have not ended.
    pub fn live(&self) -> usize {
        self.total.live
    }

    /// Sessions of one service that have not ended.
    pub fn live_of(&self, service: ServiceId) -> usize {
        self.services.get(&service).map_or(0, |entrance| entrance.slots.live)
    }

    /// Why a service is paused and for how long; nothing if it is not.
    pub fn pause_of(&self, service: ServiceId, now: Duration) -> Option<(&str, Duration)> {
        let throttle = &self.services.get(&service)?.throttle;
        let rest = match throttle.gate(now) {
            Gate::Closed(rest) => rest,
            _ => Duration::ZERO,
        };
        Some((throttle.cause()?, rest))
    }

    /// Whether a client of this service may be accepted now.
    pub fn may_connect(&self, service: ServiceId, now: Duration) -> Connect {
        let Some(entrance) = self.services.get(&service) else { return Connect::Wait };
        match entrance.throttle.gate(now) {
            Gate::Wait => return Connect::Wait,
            // Accepted to be closed at once: whoever waits in the backlog of a
            // paused service would wait for long.
            Gate::Closed(_) => return Connect::Accept,
            Gate::Open | Gate::Trying => {}
        }
        let waits = entrance.admit.when_full == WhenFull::Wait;
        if let Some(room) = self.full_room(entrance) {
            let place_to_come = room.can_make_room() || room.is_making_room();
            return if waits || place_to_come { Connect::Wait } else { Connect::Accept };
        }
        if let Some(rest) = entrance.prelude_in_the_way(now) {
            return waits_for(rest);
        }
        match entrance.bucket.and_then(|bucket| bucket.wait(now)) {
            Some(wait) if waits => Connect::WaitFor(wait),
            _ => Connect::Accept,
        }
    }

    /// Whether this client, which was accepted, is served. If it is, it has
    /// begun.
    pub fn may_start(
        &mut self,
        session: SessionId,
        service: ServiceId,
        peer: Peer,
        now: Duration,
    ) -> Result<Admitted, Reason> {
        if let Some(reason) = self.refusal(service, peer, now) {
            return Err(reason);
        }
        self.enter(session, service, now);
        let is_probe = self.throttle_of(session).is_some_and(|throttle| throttle.began(session, now));
        let connections = self.go_on(session, service, peer.source(), now);
        Ok(Admitted { connections, is_probe })
    }

    /// Whether this client, which was accepted, may shake hands. How many
    /// connections its source has then.
    pub fn may_shake_hands(
        &mut self,
        session: SessionId,
        service: ServiceId,
        peer: Peer,
        now: Duration,
    ) -> Result<usize, Reason> {
        if let Some(reason) = self.refusal(service, peer, now) {
            return Err(reason);
        }
        self.enter_prelude(session, service, now);
        Ok(self.go_on(session, service, peer.source(), now))
    }

    /// Whether a connection that will name its client is let in.
    pub fn may_enter(&mut self, session: SessionId, service: ServiceId, now: Duration) -> Result<(), Reason> {
        let Some(entrance) = self.services.get(&service) else { return Err(Reason::Full) };
        if let Some(reason) = self.no_entrance(entrance, now) {
            return Err(reason);
        }
        self.enter_prelude(session, service, now);
        Ok(())
    }

    /// Whether a session that has begun goes on, now that its client is known.
    /// How many connections the client's source has then.
    pub fn may_go_on(&mut self, session: SessionId, client: Peer, now: Duration) -> Result<usize, Reason> {
        let Some(&Live { service, source: None, .. }) = self.sessions.get(&session) else {
            return Err(Reason::Full);
        };
        // One whose service is gone meanwhile goes on under its last rules.
        let refusal = self.services.get(&service).and_then(|entrance| {
            // The mode of a socket in the file system let the proxy in, and of whom
            // that names nobody `allow` knows nothing.
            if client.ip().is_none() && entrance.admit.access.allow.is_some() {
                return Some(Reason::NotAllowed);
            }
            self.no_client(service, entrance, client, now)
        });
        if let Some(reason) = refusal {
            self.give_token_back(session, now);
            return Err(reason);
        }
        Ok(self.go_on(session, service, client.source(), now))
    }

    /// A session's header and handshake are done: whether its program may start.
    /// True if it is the one that tries whether the service works. Whoever is
    /// slow with a header tries nothing, and keeps nobody from it.
    pub fn prelude_passed(&mut self, session: SessionId, now: Duration) -> Result<bool, Reason> {
        self.prelude_over(session);
        // One whose service is gone meanwhile is served as it was.
        let Some(throttle) = self.throttle_of(session) else { return Ok(false) };
        match throttle.gate(now) {
            Gate::Closed(rest) => Err(Reason::Paused(rest)),
            Gate::Wait => Err(Reason::Paused(Duration::ZERO)),
            Gate::Open | Gate::Trying => {
                let is_probe = throttle.began(session, now);
                if let Some(live) = self.sessions.get_mut(&session) {
                    live.owes_token = false;
                }
                Ok(is_probe)
            }
        }
    }

    /// Who never comes to a program takes nothing of what its service may start: or
    /// one that sends nonsense now and then could keep all others out.
    fn give_token_back(&mut self, session: SessionId, now: Duration) {
        let Some(live) = self.sessions.get_mut(&session) else { return };
        let (service, entered) = (live.service, live.entered);
        if std::mem::take(&mut live.owes_token)
            && let Some(bucket) =
                self.services.get_mut(&service).and_then(|entrance| entrance.bucket.as_mut())
        {
            bucket.give_back(entered, now);
        }
    }

    fn enter(&mut self, session: SessionId, service: ServiceId, now: Duration) {
        if let Some(entrance) = self.services.get_mut(&service) {
            if let Some(bucket) = &mut entrance.bucket {
                bucket.take(now);
            }
            entrance.slots.live += 1;
        }
        self.total.live += 1;
        let live = Live { service, source: None, entered: now, owes_token: false };
        self.sessions.insert(session, live);
    }

    fn enter_prelude(&mut self, session: SessionId, service: ServiceId, now: Duration) {
        self.enter(session, service, now);
        if let Some(entrance) = self.services.get_mut(&service) {
            entrance.preludes.push_back((session, now));
        }
        if let Some(live) = self.sessions.get_mut(&session) {
            live.owes_token = true;
        }
    }

    fn go_on(&mut self, session: SessionId, service: ServiceId, source: Source, now: Duration) -> usize {
        let rate = self.services.get(&service).and_then(|entrance| entrance.admit.rate_per_source);
        if let Some(rate) = rate {
            self.buckets.take(rate, (service, source), now);
        }
        if let Some(live) = self.sessions.get_mut(&session) {
            live.source = Some(source);
        }
        let connections = self.sources.entry((service, source)).or_insert(0);
        *connections += 1;
        *connections
    }

    fn prelude_over(&mut self, session: SessionId) {
        if let Some(entrance) = self.entrance_of(session) {
            entrance.preludes.retain(|(other, _)| *other != session);
        }
    }

    fn entrance_of(&mut self, session: SessionId) -> Option<&mut ServiceAdmission> {
        self.sessions.get(&session).and_then(|live| self.services.get_mut(&live.service))
    }

    /// Why a client from there would be turned away now, once it is accepted.
    pub fn refusal(&self, service: ServiceId, peer: Peer, now: Duration) -> Option<Reason> {
        let Some(entrance) = self.services.get(&service) else { return Some(Reason::Full) };
        // A rule is the better reason: it holds whatever else is.
        self.denied(entrance, peer)
            .or_else(|| self.no_entrance(entrance, now))
            .or_else(|| self.no_client(service, entrance, peer, now))
    }

    fn denied(&self, entrance: &ServiceAdmission, peer: Peer) -> Option<Reason> {
        match peer.ip().map(|ip| decide(&entrance.admit.access, ip)) {
            Some(Decision::Denied(rule)) => Some(Reason::Denied(rule)),
            Some(Decision::NotAllowed) => Some(Reason::NotAllowed),
            Some(Decision::Open | Decision::Allowed(_)) | None => None,
        }
    }

    /// Why nobody would be let in now, whoever it is.
    fn no_entrance(&self, entrance: &ServiceAdmission, now: Duration) -> Option<Reason> {
        match entrance.throttle.gate(now) {
            Gate::Closed(rest) => return Some(Reason::Paused(rest)),
            // Nobody is accepted then; who comes all the same is no second try.
            Gate::Wait => return Some(Reason::Paused(Duration::ZERO)),
            Gate::Open | Gate::Trying => {}
        }
        if self.full_room(entrance).is_some() {
            return Some(Reason::Full);
        }
        let rate = entrance.bucket.filter(|bucket| bucket.wait(now).is_some());
        rate.map(|bucket| Reason::Rate(bucket.rate()))
    }

    /// Why this client would be turned away, although somebody would be let in.
    fn no_client(
        &self,
        service: ServiceId,
        entrance: &ServiceAdmission,
        client: Peer,
        now: Duration,
    ) -> Option<Reason> {
        if let Some(reason) = self.denied(entrance, client) {
            return Some(reason);
        }
        let key = (service, client.source());
        let live = self.sources.get(&key).copied().unwrap_or(0);
        let admit = &entrance.admit;
        if let Some(most) = admit.max_connections_per_source.filter(|&most| live >= most) {
            return Some(Reason::SourceFull(most));
        }
        let rate = admit.rate_per_source.filter(|&rate| self.buckets.wait(rate, key, now).is_some());
        rate.map(Reason::SourceRate)
    }

    /// What the rules of a service say of an address.
    pub fn decision(&self, service: ServiceId, ip: IpAddr) -> Option<Decision> {
        self.services.get(&service).map(|entrance| decide(&entrance.admit.access, ip))
    }

    /// Whether a session that lingers, or that is slow with its header or
    /// handshake, could make room for a client of this service, if one really
    /// waits.
    pub fn can_make_room(&self, service: ServiceId, now: Duration) -> bool {
        let Some(entrance) = self.services.get(&service) else { return false };
        match self.full_room(entrance) {
            Some(room) => room.can_make_room(),
            None => entrance.prelude_in_the_way(now) == Some(Duration::ZERO),
        }
    }

    /// The session that must end at once, because a client waits for its place.
    /// Returned once only.
    pub fn make_room(&mut self, service: ServiceId, now: Duration) -> Option<SessionId> {
        let entrance = self.services.get_mut(&service)?;
        let session = if entrance.slots.is_full() {
            entrance.slots.make_room()?
        } else if self.total.is_full() {
            self.total.make_room()?
        } else {
            return entrance.give_way(now);
        };
        // It is leaving one room and no longer to be asked in the other.
        if let Some(owner) = self.entrance_of(session) {
            owner.slots.lingers_no_more(session);
        }
        self.total.lingers_no_more(session);
        Some(session)
    }

    fn full_room<'a>(&'a self, entrance: &'a ServiceAdmission) -> Option<&'a Slots> {
        [&entrance.slots, &self.total].into_iter().find(|room| room.is_full())
    }

    /// A session's program is gone, and its last bytes are being delivered.
    pub fn lingers(&mut self, session: SessionId) {
        if let Some(entrance) = self.entrance_of(session) {
            entrance.slots.lingers(session);
            self.total.lingers(session);
        }
    }

    /// A session cannot end yet, so waiting clients do not get its slot.
    pub fn makes_no_room(&mut self, session: SessionId) {
        self.total.forget(session);
        if let Some(entrance) = self.entrance_of(session) {
            entrance.slots.forget(session);
        }
    }

    /// A session has ended, and its place is free. One that was to try its
    /// service and told nothing has shown that it works.
    pub fn ended(&mut self, session: SessionId, now: Duration) {
        self.worked(session);
        self.prelude_over(session);
        self.give_token_back(session, now);
        let Some(Live { service, source, .. }) = self.sessions.remove(&session) else { return };
        self.total.live -= 1;
        self.total.forget(session);
        if let Some(entrance) = self.services.get_mut(&service) {
            entrance.slots.live -= 1;
            entrance.slots.forget(session);
            if entrance.retired && entrance.slots.live == 0 {
                self.services.remove(&service);
            }
        }
        let Some(key) = source.map(|source| (service, source)) else { return };
        if let Some(count) = self.sources.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&key);
            }
        }
    }
}

/// A place is given up after so long.
fn waits_for(rest: Duration) -> Connect {
    if rest.is_zero() { Connect::Wait } else { Connect::WaitFor(rest) }
}

#[path = "admission_health.rs"]
mod health;
#[cfg(test)]
#[path = "admission_prelude_tests.rs"]
mod prelude_tests;
#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
