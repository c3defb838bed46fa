//! Decides which clients may connect and which programs may start: access rules, limits, rates,
//! and pauses of failing services.
//!
//! Before accept only the service is known (`may_connect`). After accept, `admit` counts the
//! client for its source or refuses it. Behind a proxy the source is known later, so `named`
//! counts it. A [`Ticket`] holds what was admitted. A refused connection consumes neither a slot
//! nor a rate token.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::access::{Decision, decide};
use super::rate::{Bucket, SourceBuckets};
use super::refusals::Reason;
use super::service_admission::ServiceAdmission;
use super::slots::Slots;
use super::throttle::{Gate, Throttle};
pub use super::ticket::Ticket;
use crate::model::ids::{ServiceId, SessionId};
use crate::model::peer::{ClientSource, Peer};
use crate::model::plan::{Admit, WhenFull};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// `admit` then decides by the client's source.
    Accept,
    /// Leave the client in the backlog until a session ends or the probe has its result.
    Wait,
    /// Leave the client in the backlog for this time.
    WaitFor(Duration),
}

/// What an accepted connection starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Header,
    Handshake(Peer),
    Program(Peer),
}

#[derive(Debug)]
pub struct Admission {
    total: Slots,
    services: HashMap<ServiceId, ServiceAdmission>,
    /// Live sessions per source and service.
    sources: HashMap<(ServiceId, ClientSource), usize>,
    buckets: SourceBuckets,
}

impl Admission {
    pub fn new(total: usize) -> Self {
        Admission {
            total: Slots::new(total),
            services: HashMap::new(),
            sources: HashMap::new(),
            buckets: SourceBuckets::default(),
        }
    }

    /// Takes a new configuration. Live sessions stay counted, and unchanged rates keep their
    /// buckets. Pauses end, because the change may have fixed their cause.
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

    pub fn live(&self) -> usize {
        self.total.live
    }

    pub fn live_of(&self, service: ServiceId) -> usize {
        self.services.get(&service).map_or(0, |entrance| entrance.slots.live)
    }

    pub fn pause_of(&self, service: ServiceId, now: Duration) -> Option<(&str, Duration)> {
        let throttle = &self.services.get(&service)?.throttle;
        let rest = match throttle.gate(now) {
            Gate::Closed(rest) => rest,
            _ => Duration::ZERO,
        };
        Some((throttle.cause()?, rest))
    }

    pub fn may_connect(&self, service: ServiceId, now: Duration) -> Connect {
        let Some(entrance) = self.services.get(&service) else { return Connect::Wait };
        match entrance.throttle.gate(now) {
            Gate::Wait => return Connect::Wait,
            // Accepted to be closed at once: in the backlog the client would wait for long.
            Gate::Closed(_) => return Connect::Accept,
            Gate::Open | Gate::Trying => {}
        }
        let waits = entrance.admit.when_full == WhenFull::Wait;
        if let Some(slots) = self.full(entrance) {
            let is_freed_soon = slots.can_evict() || slots.is_evicting();
            return if waits || is_freed_soon { Connect::Wait } else { Connect::Accept };
        }
        if let Some(rest) = entrance.prelude_in_the_way(now) {
            return waits_for(rest);
        }
        match entrance.bucket.and_then(|bucket| bucket.wait(now)) {
            Some(wait) if waits => Connect::WaitFor(wait),
            _ => Connect::Accept,
        }
    }

    /// Admits an accepted client and counts its session, or returns the reason for a refusal.
    pub fn admit(
        &mut self,
        session: SessionId,
        service: ServiceId,
        stage: Stage,
        now: Duration,
    ) -> Result<Ticket, Reason> {
        let refusal = match (stage, self.services.get(&service)) {
            (Stage::Handshake(client) | Stage::Program(client), _) => self.refusal(service, client, now),
            (Stage::Header, Some(entrance)) => self.no_entrance(entrance, now),
            (Stage::Header, None) => Some(Reason::Full),
        };
        if let Some(reason) = refusal {
            return Err(reason);
        }
        let mut ticket = Ticket::new(session, service, now);
        self.total.live += 1;
        if let Some(entrance) = self.services.get_mut(&service) {
            entrance.slots.live += 1;
            if let Some(bucket) = &mut entrance.bucket {
                bucket.take(now);
            }
            match stage {
                Stage::Program(_) => ticket.starts(entrance.throttle.began(session, now)),
                Stage::Header | Stage::Handshake(_) => entrance.preludes.push_back((session, now)),
            }
        }
        match stage {
            Stage::Header => {}
            Stage::Handshake(client) | Stage::Program(client) => self.count(&mut ticket, client, now),
        }
        Ok(ticket)
    }

    /// Counts the client that a header named. Returns how many connections its source now has.
    pub fn named(&mut self, ticket: &mut Ticket, client: Peer, now: Duration) -> Result<usize, Reason> {
        if ticket.source.is_some() {
            return Err(Reason::Full);
        }
        // A session whose service was removed goes on.
        let refusal = self.services.get(&ticket.service).and_then(|entrance| {
            // The header names no address that `allow` could match.
            if client.ip().is_none() && entrance.admit.access.allow.is_some() {
                return Some(Reason::NotAllowed);
            }
            self.no_client(ticket.service, entrance, client, now)
        });
        if let Some(reason) = refusal {
            self.give_token_back(ticket, now);
            return Err(reason);
        }
        self.count(ticket, client, now);
        Ok(ticket.connections)
    }

    /// Returns true if the session is the probe. A slow prelude never delays the probe, because a
    /// session with a prelude becomes it only here.
    pub fn passed(&mut self, ticket: &mut Ticket, now: Duration) -> Result<bool, Reason> {
        self.prelude_over(ticket);
        let Some(throttle) = self.throttle_of(ticket) else { return Ok(false) };
        match throttle.gate(now) {
            Gate::Closed(rest) => Err(Reason::Paused(rest)),
            Gate::Wait => Err(Reason::Paused(Duration::ZERO)),
            Gate::Open | Gate::Trying => {
                ticket.starts(throttle.began(ticket.session, now));
                Ok(ticket.is_probe)
            }
        }
    }

    /// Without this, a client that sends garbage could use up the rate and keep all others out.
    fn give_token_back(&mut self, ticket: &mut Ticket, now: Duration) {
        if std::mem::take(&mut ticket.owes_token)
            && let Some(entrance) = self.services.get_mut(&ticket.service)
            && let Some(bucket) = &mut entrance.bucket
        {
            bucket.give_back(ticket.entered, now);
        }
    }

    fn count(&mut self, ticket: &mut Ticket, client: Peer, now: Duration) {
        let key = (ticket.service, client.source());
        let rate = self.services.get(&ticket.service).and_then(|entrance| entrance.admit.rate_per_source);
        if let Some(rate) = rate {
            self.buckets.take(rate, key, now);
        }
        let connections = self.sources.entry(key).or_insert(0);
        *connections += 1;
        ticket.source = Some(client.source());
        ticket.connections = *connections;
    }

    fn prelude_over(&mut self, ticket: &Ticket) {
        if let Some(entrance) = self.services.get_mut(&ticket.service) {
            entrance.preludes.retain(|(other, _)| *other != ticket.session);
        }
    }

    pub fn refusal(&self, service: ServiceId, peer: Peer, now: Duration) -> Option<Reason> {
        let Some(entrance) = self.services.get(&service) else { return Some(Reason::Full) };
        // The access rule comes first, because it holds at any load.
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

    /// Why any client would be refused now, from any source.
    fn no_entrance(&self, entrance: &ServiceAdmission, now: Duration) -> Option<Reason> {
        match entrance.throttle.gate(now) {
            Gate::Closed(rest) => return Some(Reason::Paused(rest)),
            // A client that was accepted earlier must not become a second probe.
            Gate::Wait => return Some(Reason::Paused(Duration::ZERO)),
            Gate::Open | Gate::Trying => {}
        }
        if self.full(entrance).is_some() {
            return Some(Reason::Full);
        }
        let rate = entrance.bucket.filter(|bucket| bucket.wait(now).is_some());
        rate.map(|bucket| Reason::Rate(bucket.rate()))
    }

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

    pub fn decision(&self, service: ServiceId, ip: IpAddr) -> Option<Decision> {
        self.services.get(&service).map(|entrance| decide(&entrance.admit.access, ip))
    }

    pub fn can_evict(&self, service: ServiceId, now: Duration) -> bool {
        let Some(entrance) = self.services.get(&service) else { return false };
        match self.full(entrance) {
            Some(slots) => slots.can_evict(),
            None => entrance.prelude_in_the_way(now) == Some(Duration::ZERO),
        }
    }

    /// Evicts a session for a waiting client of this service. Returns each session once.
    pub fn evict(&mut self, service: ServiceId, now: Duration) -> Option<SessionId> {
        let entrance = self.services.get_mut(&service)?;
        let (owner, session) = if entrance.slots.is_full() {
            entrance.slots.evict()?
        } else if self.total.is_full() {
            self.total.evict()?
        } else {
            return entrance.evict_prelude(now);
        };
        // The session frees a slot of both, so neither may evict it again.
        if let Some(owner) = self.services.get_mut(&owner) {
            owner.slots.lingers_no_more(session);
        }
        self.total.lingers_no_more(session);
        Some(session)
    }

    fn full<'a>(&'a self, entrance: &'a ServiceAdmission) -> Option<&'a Slots> {
        [&entrance.slots, &self.total].into_iter().find(|slots| slots.is_full())
    }

    pub fn lingers(&mut self, ticket: &Ticket) {
        if let Some(entrance) = self.services.get_mut(&ticket.service) {
            entrance.slots.lingers(ticket.service, ticket.session);
            self.total.lingers(ticket.service, ticket.session);
        }
    }

    pub fn is_held(&mut self, ticket: &Ticket) {
        self.total.forget(ticket.session);
        if let Some(entrance) = self.services.get_mut(&ticket.service) {
            entrance.slots.forget(ticket.session);
        }
    }

    /// A probe without a verdict counts as a success.
    pub fn ended(&mut self, mut ticket: Ticket, now: Duration) {
        self.worked(&ticket);
        self.prelude_over(&ticket);
        self.give_token_back(&mut ticket, now);
        let Ticket { session, service, source, .. } = ticket;
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
