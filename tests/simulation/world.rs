//! The simulated world: clients arrive, programs run, fail and end, and an administrator reloads
//! and stops. It counts independently what the promises bound.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use wininetd::core::admission::{Admission, Connect, Stage, Ticket};
use wininetd::core::ending::{EndAction, EndReason, Ending};
use wininetd::core::refusals::{RECORDS, Reason};
use wininetd::core::repeat_filter::RepeatFilter;
use wininetd::core::stop::StopTimes;
use wininetd::model::ids::{ServiceId, SessionId};
use wininetd::model::listen::Address;
use wininetd::model::peer::Peer;
use wininetd::model::plan::{Admit, WhenFull};

use super::promises::{allowed, holds};
use super::random::Random;
use super::sums::Sums;

pub const SERVICES: usize = 4;
const GRACE: Duration = Duration::from_secs(10);

pub struct Session {
    pub ticket: Ticket,
    pub service: ServiceId,
    pub peer: Peer,
    pub ending: Ending,
    /// Ends only when killed.
    pub deaf: bool,
    pub lingers: bool,
    /// When the program must have ended, after the server asked it to end.
    pub gone_by: Option<Duration>,
}

pub struct Service {
    pub admit: Admit,
    pub limit: usize,
    pub addresses: Vec<Address>,
    pub backlog: VecDeque<Peer>,
    pub broken: bool,
    /// The times of its starts since the last change of its rate.
    pub begins: Vec<Duration>,
    /// The same for each source.
    pub begins_of: BTreeMap<String, Vec<Duration>>,
    /// No program starts before this time. After it, one probe at a time may start.
    pub closed_until: Option<Duration>,
    pub next_pause: Duration,
    pub probe: Option<SessionId>,
}

pub struct World {
    pub random: Random,
    pub now: Duration,
    pub admission: Admission,
    pub refusals: RepeatFilter<(ServiceId, &'static str)>,
    pub total: usize,
    pub services: BTreeMap<ServiceId, Service>,
    pub sessions: BTreeMap<SessionId, Session>,
    pub last_session: u64,
    pub bound: Vec<Address>,
    pub lines: u64,
    pub told: u64,
    pub stop: Option<StopTimes>,
    pub sums: Sums,
}

impl World {
    pub fn new(mut random: Random) -> Self {
        let total = 1 + random.below(8);
        let mut world = World {
            random,
            now: Duration::from_secs(1),
            admission: Admission::new(total),
            refusals: RepeatFilter::new(RECORDS),
            total,
            services: BTreeMap::new(),
            sessions: BTreeMap::new(),
            last_session: 0,
            bound: Vec::new(),
            lines: 0,
            told: 0,
            stop: None,
            sums: Sums::default(),
        };
        world.reload();
        world
    }

    pub fn step(&mut self) {
        match self.random.below(100) {
            0..=44 => self.arrive(),
            45..=59 => self.program_ends(),
            60..=64 => self.client_is_done(),
            65..=69 => self.kill(),
            70..=84 => self.now += self.random.time(Duration::from_secs(3)),
            85..=87 => self.now += self.random.time(Duration::from_secs(700)),
            // The machine was suspended.
            88 => self.now += self.random.time(Duration::from_secs(400_000)),
            89..=91 => self.break_or_mend(),
            92..=95 => self.reload(),
            96..=97 => {
                self.told += self.refusals.take_all_suppressed().iter().map(|(_, count)| count).sum::<u64>();
            }
            98 => self.stop(),
            _ => {}
        }
        self.act();
        self.accept();
    }

    fn peer(&mut self) -> Peer {
        let ips = ["192.0.2.1", "192.0.2.2", "10.0.0.1", "10.1.0.1", "2001:db8::1", "2001:db8::2"];
        let ip: IpAddr = self.random.pick(&ips).parse().unwrap();
        if self.random.once_in(9) {
            return Peer::Unix { user: Some(7), process: None };
        }
        Peer::Inet((ip, 1000).into())
    }

    fn arrive(&mut self) {
        if self.stop.is_some() {
            return;
        }
        for _ in 0..=self.random.below(3) {
            let peer = self.peer();
            let ids: Vec<_> = self.services.keys().copied().collect();
            if ids.is_empty() {
                return;
            }
            let id = *self.random.pick(&ids);
            self.services.get_mut(&id).unwrap().backlog.push_back(peer);
            self.sums.arrived += 1;
        }
    }

    fn accept(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let ids: Vec<_> = self.services.keys().copied().collect();
        for id in ids {
            while !self.services[&id].backlog.is_empty() {
                match self.admission.may_connect(id, self.now) {
                    Connect::Accept => self.start(id),
                    Connect::WaitFor(wait) => {
                        assert!(wait > Duration::ZERO && self.services[&id].admit.rate.is_some());
                        self.sums.waited_for_a_token += 1;
                        break;
                    }
                    Connect::Wait => {
                        if let Some(session) = self.admission.evict(id, self.now) {
                            assert!(self.sessions[&session].lingers, "only who lingers makes room");
                            self.sums.made_room += 1;
                            self.gone(session);
                            continue;
                        }
                        break;
                    }
                }
            }
        }
    }

    fn start(&mut self, id: ServiceId) {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let service = self.services.get_mut(&id).unwrap();
        let peer = service.backlog.pop_front().unwrap();
        let refusal = self.admission.refusal(id, peer, self.now);
        match self.admission.admit(session, id, Stage::Program(peer), self.now) {
            Ok(ticket) => {
                assert_eq!(refusal, None, "what is foretold is what happens");
                self.promises_of_a_start(id, peer);
                let service = self.services.get_mut(&id).unwrap();
                assert_eq!(ticket.is_probe(), service.closed_until.is_some(), "one tries after a pause");
                if ticket.is_probe() {
                    service.probe = Some(session);
                }
                let ending = Ending::new(*self.random.pick(&[Duration::ZERO, Duration::from_secs(5)]));
                let deaf = self.random.once_in(3);
                self.sessions.insert(
                    session,
                    Session { ticket, service: id, peer, ending, deaf, lingers: false, gone_by: None },
                );
                if self.services[&id].broken {
                    self.fail(session);
                }
            }
            Err(reason) => {
                assert_eq!(refusal.as_ref(), Some(&reason));
                self.sums.refused += 1;
                self.lines += u64::from(self.refusals.allow((id, reason.kind()), self.now));
                self.promises_of_a_refusal(id, peer, &reason);
            }
        }
    }

    fn promises_of_a_start(&mut self, id: ServiceId, peer: Peer) {
        let live = self.sessions.values().filter(|other| other.service == id);
        let of_source = live.clone().filter(|other| other.peer.source() == peer.source()).count();
        let live = live.count();
        let service = self.services.get_mut(&id).unwrap();
        assert!(live < service.limit, "max_connections");
        assert!(self.sessions.len() < self.total, "the total");
        let admit = &service.admit;
        assert!(admit.max_connections_per_source.is_none_or(|most| of_source < most), "of one source");
        assert!(allowed(&admit.access, peer), "the rules");
        assert!(service.closed_until.is_none_or(|until| self.now >= until), "the curve");
        assert_eq!(service.probe, None, "one tries at a time");
        service.begins.push(self.now);
        if let Some(rate) = admit.rate {
            holds(rate, &service.begins);
        }
        let of_source = service.begins_of.entry(format!("{:?}", peer.source())).or_default();
        of_source.push(self.now);
        if let Some(rate) = admit.rate_per_source {
            holds(rate, of_source);
        }
    }

    fn promises_of_a_refusal(&self, id: ServiceId, peer: Peer, reason: &Reason) {
        let service = &self.services[&id];
        match reason {
            Reason::Denied(_) | Reason::NotAllowed => assert!(!allowed(&service.admit.access, peer)),
            Reason::Paused(rest) => {
                assert!(
                    service.closed_until.is_some_and(|until| until == self.now + *rest),
                    "no pause without a failure"
                );
            }
            Reason::Full | Reason::Rate(_) => assert_eq!(service.admit.when_full, WhenFull::Refuse),
            Reason::SourceFull(_) => assert!(service.admit.max_connections_per_source.is_some()),
            Reason::NotASender => panic!("no service here expects a header"),
            Reason::SourceRate(_) => assert!(service.admit.rate_per_source.is_some()),
        }
    }

    fn fail(&mut self, session: SessionId) {
        self.sums.failed += 1;
        let id = self.sessions[&session].service;
        let pause = self.admission.failed(&self.sessions[&session].ticket, "exec", self.now);
        if let Some(service) = self.services.get_mut(&id) {
            let counts = service.closed_until.is_none() || service.probe == Some(session);
            assert_eq!(pause, counts.then_some(service.next_pause), "pauses double");
            if counts {
                service.closed_until = Some(self.now + service.next_pause);
                service.next_pause = (service.next_pause * 2).min(Duration::from_secs(600));
                service.probe = None;
                self.sums.pauses += 1;
            }
        }
        self.forget(session);
    }

    fn one_of(&mut self, wanted: impl Fn(&Session) -> bool) -> Option<SessionId> {
        let found: Vec<_> =
            self.sessions.iter().filter(|(_, session)| wanted(session)).map(|(id, _)| *id).collect();
        (!found.is_empty()).then(|| *self.random.pick(&found))
    }

    fn program_ends(&mut self) {
        let Some(session) = self.one_of(|session| !session.lingers) else { return };
        if self.random.once_in(4) {
            return self.fail(session);
        }
        self.works(session);
        let session = self.sessions.get_mut(&session).unwrap();
        self.admission.lingers(&session.ticket);
        session.lingers = true;
    }

    fn client_is_done(&mut self) {
        if let Some(session) = self.one_of(|session| session.lingers) {
            self.gone(session);
        }
    }

    fn works(&mut self, session: SessionId) {
        let recovered = self.admission.worked(&self.sessions[&session].ticket);
        let id = self.sessions[&session].service;
        let Some(service) = self.services.get_mut(&id) else { return };
        assert_eq!(recovered, service.probe == Some(session), "only who tries ends a pause");
        if recovered {
            self.sums.recovered += 1;
            (service.closed_until, service.probe, service.next_pause) = (None, None, Duration::from_secs(1));
        }
    }

    fn gone(&mut self, session: SessionId) {
        if !self.sessions[&session].lingers {
            self.works(session);
        }
        self.sums.served += 1;
        self.forget(session);
    }

    fn forget(&mut self, session: SessionId) {
        let session = self.sessions.remove(&session).unwrap();
        self.admission.ended(session.ticket, self.now);
    }

    fn kill(&mut self) {
        let now = self.now;
        let why = *self.random.pick(&[EndReason::Killed, EndReason::Idle, EndReason::Timeout]);
        let later = self.random.time(Duration::from_secs(20));
        if let Some(session) = self.one_of(|session| !session.lingers) {
            self.sessions.get_mut(&session).unwrap().ending.ask_at(now + later, why);
        }
    }

    fn act(&mut self) {
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            let now = self.now;
            let session = self.sessions.get_mut(&id).unwrap();
            if session.lingers {
                if session.ending.why(now).is_some() {
                    self.gone(id);
                }
                continue;
            }
            loop {
                let session = self.sessions.get_mut(&id).unwrap();
                match session.ending.act(now) {
                    EndAction::Wait(until) => {
                        assert!(until.is_none_or(|until| until > now), "it waits for what is to come");
                        break;
                    }
                    EndAction::Ask => {
                        self.sums.asked += 1;
                        assert!(session.ending.why(now).is_some());
                        session.gone_by = Some(now + Duration::from_secs(5));
                        if !session.deaf {
                            self.gone(id);
                            break;
                        }
                        if self.random.once_in(4) {
                            session.ending.can_not_ask(now);
                        }
                    }
                    EndAction::Kill => {
                        self.sums.ended_by_force += 1;
                        self.gone(id);
                        break;
                    }
                }
            }
        }
    }

    fn break_or_mend(&mut self) {
        let ids: Vec<_> = self.services.keys().copied().collect();
        if !ids.is_empty() {
            let id = *self.random.pick(&ids);
            let service = self.services.get_mut(&id).unwrap();
            service.broken = !service.broken;
        }
    }

    fn stop(&mut self) {
        let longest = Duration::from_secs(5);
        let at_most = self.random.once_in(4).then_some(Duration::from_secs(3));
        let stop = match self.stop {
            None => {
                self.sums.stops += 1;
                for service in self.services.values_mut() {
                    self.sums.arrived -= service.backlog.len() as u64;
                    service.backlog.clear();
                }
                StopTimes::requested(self.now, GRACE, longest, at_most)
            }
            Some(stop) => stop.requested_again(self.now),
        };
        assert!(stop.ask <= stop.kill && stop.kill <= self.now + GRACE + longest, "bounded in time");
        self.stop = Some(stop);
        for session in self.sessions.values_mut() {
            session.ending.ask_at(stop.ask, EndReason::Stop);
            session.ending.kill_at(stop.kill);
        }
    }

    /// Checks every promise that is visible from outside at any time.
    pub fn look(&mut self) {
        assert_eq!(self.admission.live(), self.sessions.len());
        for (id, service) in &self.services {
            let live = self.sessions.values().filter(|session| session.service == *id).count();
            assert_eq!(self.admission.live_of(*id), live);
            let pause = self.admission.pause_of(*id, self.now).map(|(_, rest)| self.now + rest);
            let expected = service.closed_until.map(|until| until.max(self.now));
            assert_eq!(pause, expected, "a pause is shown");
        }
        let waiting: u64 = self.services.values().map(|service| service.backlog.len() as u64).sum();
        let Sums { arrived, served, refused, failed, .. } = self.sums;
        assert_eq!(
            arrived,
            waiting + served + refused + failed + self.sessions.len() as u64,
            "every client is waiting, live, or in one record"
        );
        for session in self.sessions.values() {
            let late = session.gone_by.is_some_and(|by| self.now > by) && !session.lingers;
            assert!(!late, "who was asked is gone after its grace");
        }
        if self.stop.is_some_and(|stop| self.now >= stop.kill) {
            assert!(self.sessions.is_empty(), "a stop ends everything");
        }
    }

    /// Checks that waiting clients are served once programs work and end, and that nothing is left.
    pub fn finish(mut self) -> Sums {
        for service in self.services.values_mut() {
            service.broken = false;
        }
        for _ in 0..400 {
            let waits = self.services.values().any(|service| !service.backlog.is_empty());
            if !waits && self.sessions.is_empty() {
                break;
            }
            let ids: Vec<_> = self.sessions.keys().copied().collect();
            for id in ids {
                self.gone(id);
            }
            self.now += Duration::from_secs(600);
            self.accept();
            self.look();
        }
        assert!(self.sessions.is_empty() && self.services.values().all(|service| service.backlog.is_empty()));
        self.told += self.refusals.take_all_suppressed().iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(self.lines + self.told, self.sums.refused, "each refusal has a line or is counted");
        self.sums
    }
}
