//! Who may connect and who may start: rules, limits in all, for each service
//! and each source, rates, and the pauses of services that fail by themselves.
//!
//! Before a client is accepted only its service is known (`may_connect`); then
//! so is its source (`may_start`). Whoever is refused takes nothing from
//! others: no place and no token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::access::{Decision, decide};
use super::rate::{Bucket, SourceBuckets};
use super::refusals::Reason;
use super::room::Room;
use super::throttle::{Gate, Throttle};
use super::{Peer, ServiceId, SessionId, Source};
use crate::config::plan::{Admit, WhenFull};

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
    pub tries: bool,
}

/// All live sessions, counted, and what may join them.
#[derive(Debug)]
pub struct Admission {
    total: Room,
    services: HashMap<ServiceId, Entrance>,
    /// Live sessions of each source and service. No larger than the sessions.
    sources: HashMap<(ServiceId, Source), usize>,
    buckets: SourceBuckets,
    sessions: HashMap<SessionId, (ServiceId, Source)>,
}

/// The entrance of one service.
#[derive(Debug)]
struct Entrance {
    admit: Admit,
    room: Room,
    bucket: Option<Bucket>,
    throttle: Throttle,
    /// It is gone from the configuration; its last sessions are not.
    retired: bool,
}

impl Admission {
    /// Nobody is there yet, and no service.
    pub fn new(total: usize) -> Self {
        Admission {
            total: Room::new(total),
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
            let new = || Entrance {
                admit: admit.clone(),
                room: Room::new(limit),
                bucket: None,
                throttle: Throttle::new(),
                retired: false,
            };
            let entrance = self.services.entry(id).or_insert_with(new);
            entrance.retired = false;
            entrance.throttle.reset();
            entrance.room.limit = limit;
            let kept = entrance.bucket.filter(|bucket| Some(bucket.rate()) == admit.rate);
            entrance.bucket = kept.or_else(|| admit.rate.map(Bucket::new));
            entrance.admit = admit.clone();
        }
        self.services.retain(|_, entrance| !entrance.retired || entrance.room.live > 0);
    }

    /// Sessions that have not ended.
    pub fn live(&self) -> usize {
        self.total.live
    }

    /// Sessions of one service that have not ended.
    pub fn live_of(&self, service: ServiceId) -> usize {
        self.services.get(&service).map_or(0, |entrance| entrance.room.live)
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
        let source = peer.source();
        // A service that is gone has let nobody in.
        let Some(entrance) = self.services.get_mut(&service) else { return Err(Reason::Full) };
        if let Some(bucket) = &mut entrance.bucket {
            bucket.take(now);
        }
        if let Some(rate) = entrance.admit.rate_per_source {
            self.buckets.take(rate, (service, source), now);
        }
        let tries = entrance.throttle.began(session, now);
        entrance.room.live += 1;
        self.total.live += 1;
        self.sessions.insert(session, (service, source));
        let connections = self.sources.entry((service, source)).or_insert(0);
        *connections += 1;
        Ok(Admitted { connections: *connections, tries })
    }

    /// Why a client from there would be turned away now, once it is accepted.
    pub fn refusal(&self, service: ServiceId, peer: Peer, now: Duration) -> Option<Reason> {
        let Some(entrance) = self.services.get(&service) else { return Some(Reason::Full) };
        match peer.ip().map(|ip| decide(&entrance.admit.access, ip)) {
            Some(Decision::Denied(rule)) => return Some(Reason::Denied(rule)),
            Some(Decision::NotAllowed) => return Some(Reason::NotAllowed),
            Some(Decision::Open | Decision::Allowed(_)) | None => {}
        }
        match entrance.throttle.gate(now) {
            Gate::Closed(rest) => return Some(Reason::Paused(rest)),
            // Nobody is accepted then; who comes all the same is no second try.
            Gate::Wait => return Some(Reason::Paused(Duration::ZERO)),
            Gate::Open | Gate::Trying => {}
        }
        if self.full_room(entrance).is_some() {
            return Some(Reason::Full);
        }
        let key = (service, peer.source());
        let live = self.sources.get(&key).copied().unwrap_or(0);
        let admit = &entrance.admit;
        if let Some(most) = admit.max_connections_per_source.filter(|&most| live >= most) {
            return Some(Reason::SourceFull(most));
        }
        if let Some(rate) = admit.rate_per_source.filter(|&rate| self.buckets.wait(rate, key, now).is_some())
        {
            return Some(Reason::SourceRate(rate));
        }
        let rate = entrance.bucket.filter(|bucket| bucket.wait(now).is_some());
        rate.map(|bucket| Reason::Rate(bucket.rate()))
    }

    /// What the rules of a service say of an address.
    pub fn decision(&self, service: ServiceId, ip: IpAddr) -> Option<Decision> {
        self.services.get(&service).map(|entrance| decide(&entrance.admit.access, ip))
    }

    /// Whether a lingering session could make room for a client of this
    /// service, if one really waits.
    pub fn can_make_room(&self, service: ServiceId) -> bool {
        let room = self.services.get(&service).and_then(|entrance| self.full_room(entrance));
        room.is_some_and(Room::can_make_room)
    }

    /// The session that must end at once, because a client waits for its place.
    /// Returned once only.
    pub fn make_room(&mut self, service: ServiceId) -> Option<SessionId> {
        let room = &mut self.services.get_mut(&service)?.room;
        let session = if room.is_full() { room.make_room()? } else { self.total.make_room()? };
        // It is leaving one room and no longer to be asked in the other.
        if let Some(owner) = self.sessions.get(&session).and_then(|(owner, _)| self.services.get_mut(owner)) {
            owner.room.lingers_no_more(session);
        }
        self.total.lingers_no_more(session);
        Some(session)
    }

    fn full_room<'a>(&'a self, entrance: &'a Entrance) -> Option<&'a Room> {
        [&entrance.room, &self.total].into_iter().find(|room| room.is_full())
    }

    /// The service has failed by itself in this session. The pause that begins
    /// with it, if one does.
    pub fn failed(&mut self, session: SessionId, cause: &str, now: Duration) -> Option<Duration> {
        self.throttle_of(session)?.failed(session, cause, now)
    }

    /// The service works, as this session shows. True if that ends a pause.
    pub fn worked(&mut self, session: SessionId) -> bool {
        self.throttle_of(session).is_some_and(|throttle| throttle.worked(session))
    }

    fn throttle_of(&mut self, session: SessionId) -> Option<&mut Throttle> {
        let (service, _) = self.sessions.get(&session)?;
        self.services.get_mut(service).map(|entrance| &mut entrance.throttle)
    }

    /// A session's program is gone, and its last bytes are being delivered.
    pub fn lingers(&mut self, session: SessionId) {
        if let Some(entrance) =
            self.sessions.get(&session).and_then(|(service, _)| self.services.get_mut(service))
        {
            self.total.lingers(session);
            entrance.room.lingers(session);
        }
    }

    /// A session has ended, and its place is free. One that was to try its
    /// service and told nothing has shown that it works.
    pub fn ended(&mut self, session: SessionId) {
        self.worked(session);
        let Some((service, source)) = self.sessions.remove(&session) else { return };
        self.total.live -= 1;
        self.total.forget(session);
        if let Some(entrance) = self.services.get_mut(&service) {
            entrance.room.live -= 1;
            entrance.room.forget(session);
            if entrance.retired && entrance.room.live == 0 {
                self.services.remove(&service);
            }
        }
        if let Some(count) = self.sources.get_mut(&(service, source)) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&(service, source));
            }
        }
    }
}

/// How many sessions the descriptor limit leaves room for: each holds its
/// connection and its program, and a reserve stays for listeners, logs, files,
/// and clients that are just being turned away.
pub fn total_from_descriptors(limit: usize, listeners: usize) -> usize {
    const EACH: usize = 2;
    const RESERVE: usize = 96;
    (limit.saturating_sub(listeners + RESERVE) / EACH).max(1)
}

/// The most connections of one service, where the total is small: no service
/// may take what all others need.
pub fn share_of_total(limit: usize, total: usize, services: usize) -> usize {
    if services <= 1 { limit } else { limit.min(total * 3 / 4).max(1) }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
