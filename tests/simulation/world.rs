//! A world around the decisions: clients that come, programs that run, fail and
//! end, an administrator who reloads and stops. What is promised is counted
//! here a second time, in the plainest way.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use wininetd::config::plan::{Access, Address, Admit, Rate, WhenFull};
use wininetd::core::admission::{Admission, Connect};
use wininetd::core::ending::{Act, Ending, Why};
use wininetd::core::refusals::{Reason, Refusals};
use wininetd::core::reload::{changes, overlap};
use wininetd::core::stop::Stop;
use wininetd::core::{Peer, ServiceId, SessionId};

use super::random::Random;

const SERVICES: usize = 4;
const GRACE: Duration = Duration::from_secs(10);

/// How often each thing has happened.
#[derive(Debug, Default)]
pub struct Sums {
    arrived: u64,
    served: u64,
    refused: u64,
    failed: u64,
    pauses: u64,
    recovered: u64,
    made_room: u64,
    reloads: u64,
    asked: u64,
    ended_by_force: u64,
    stops: u64,
    waited_for_a_token: u64,
}

impl Sums {
    pub fn add(&mut self, other: &Sums) {
        for (sum, more) in self.all().into_iter().zip(other.values()) {
            *sum += more;
        }
    }

    fn all(&mut self) -> [&mut u64; 12] {
        let Sums { arrived, served, refused, failed, pauses, recovered, made_room, reloads, .. } = self;
        let Sums { asked, ended_by_force, stops, waited_for_a_token, .. } = self;
        [
            arrived,
            served,
            refused,
            failed,
            pauses,
            recovered,
            made_room,
            reloads,
            asked,
            ended_by_force,
            stops,
            waited_for_a_token,
        ]
    }

    fn values(&self) -> [u64; 12] {
        let copy = &mut Sums { ..*self };
        copy.all().map(|sum| *sum)
    }

    pub fn each_happened(&self) -> bool {
        self.values().iter().all(|&sum| sum > 0)
    }
}

/// A client's program.
struct Session {
    service: ServiceId,
    peer: Peer,
    ending: Ending,
    /// Ends only by force.
    deaf: bool,
    lingers: bool,
    /// When it has to be gone, once it was asked.
    gone_by: Option<Duration>,
}

/// A service as the administrator sees it.
struct Service {
    admit: Admit,
    limit: usize,
    addresses: Vec<Address>,
    backlog: VecDeque<Peer>,
    /// Its program can't be started.
    broken: bool,
    /// When its sessions began, since its rate was last changed.
    begins: Vec<Duration>,
    /// The same for each source.
    begins_of: BTreeMap<String, Vec<Duration>>,
    /// By the curve nobody is started before this, and one at a time after.
    closed_until: Option<Duration>,
    next_pause: Duration,
    probe: Option<SessionId>,
}

pub struct World {
    random: Random,
    now: Duration,
    admission: Admission,
    refusals: Refusals,
    total: usize,
    services: BTreeMap<ServiceId, Service>,
    sessions: BTreeMap<SessionId, Session>,
    last_session: u64,
    bound: Vec<Address>,
    lines: u64,
    told: u64,
    stop: Option<Stop>,
    sums: Sums,
}

impl World {
    pub fn new(mut random: Random) -> Self {
        let total = 1 + random.below(8);
        let mut world = World {
            random,
            now: Duration::from_secs(1),
            admission: Admission::new(total),
            refusals: Refusals::default(),
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
            // A machine that slept.
            88 => self.now += self.random.time(Duration::from_secs(400_000)),
            89..=91 => self.break_or_mend(),
            92..=95 => self.reload(),
            96..=97 => {
                self.told += self.refusals.tell().iter().map(|(_, _, count)| count).sum::<u64>();
            }
            98 => self.stop(),
            _ => self.admission.ended(SessionId(self.last_session + 1)),
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

    /// As the supervisor does it.
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
                        if let Some(session) = self.admission.make_room(id) {
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
        match self.admission.may_start(session, id, peer, self.now) {
            Ok(admitted) => {
                assert_eq!(refusal, None, "what is foretold is what happens");
                self.promises_of_a_start(id, peer);
                let service = self.services.get_mut(&id).unwrap();
                assert_eq!(admitted.tries, service.closed_until.is_some(), "one tries after a pause");
                if admitted.tries {
                    service.probe = Some(session);
                }
                let ending = Ending::new(*self.random.pick(&[Duration::ZERO, Duration::from_secs(5)]));
                let deaf = self.random.once_in(3);
                self.sessions.insert(
                    session,
                    Session { service: id, peer, ending, deaf, lingers: false, gone_by: None },
                );
                if self.services[&id].broken {
                    self.fail(session);
                }
            }
            Err(reason) => {
                assert_eq!(refusal.as_ref(), Some(&reason));
                self.sums.refused += 1;
                self.lines += u64::from(self.refusals.refused(id, &reason, self.now));
                self.promises_of_a_refusal(id, peer, &reason);
            }
        }
    }

    /// Limits, rules, rates and pauses, counted a second time.
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
            Reason::SourceRate(_) => assert!(service.admit.rate_per_source.is_some()),
        }
    }

    fn fail(&mut self, session: SessionId) {
        self.sums.failed += 1;
        let id = self.sessions[&session].service;
        let pause = self.admission.failed(session, "exec", self.now);
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
        self.admission.lingers(session);
        self.sessions.get_mut(&session).unwrap().lingers = true;
    }

    fn client_is_done(&mut self) {
        if let Some(session) = self.one_of(|session| session.lingers) {
            self.gone(session);
        }
    }

    /// The program has shown that it works.
    fn works(&mut self, session: SessionId) {
        let recovered = self.admission.worked(session);
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
        self.admission.ended(session);
        self.sessions.remove(&session);
    }

    fn kill(&mut self) {
        let now = self.now;
        let why = *self.random.pick(&[Why::Killed, Why::Idle, Why::Timeout]);
        let later = self.random.time(Duration::from_secs(20));
        if let Some(session) = self.one_of(|session| !session.lingers) {
            self.sessions.get_mut(&session).unwrap().ending.ask_at(now + later, why);
        }
    }

    /// Sessions do what their endings say.
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
                    Act::Wait(until) => {
                        assert!(until.is_none_or(|until| until > now), "it waits for what is to come");
                        break;
                    }
                    Act::Ask => {
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
                    Act::Kill => {
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

    /// Another configuration: some services stay, some change, some are new or gone.
    fn reload(&mut self) {
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
                // Whoever waits at a listener that is closed is told so by the system.
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
            // They are not told any more, so they count as told.
            let before: u64 = self.refusals.tell().iter().map(|(_, _, count)| count).sum();
            self.told += before;
            self.refusals.forget(gone);
        }
        assert_eq!(self.admission.live(), live, "sessions go on");
        self.listen();
    }

    /// The listeners follow, with nothing that stays closed on the way.
    fn listen(&mut self) {
        let wanted: Vec<Address> =
            self.services.values().flat_map(|service| service.addresses.clone()).collect();
        let now: Vec<_> = self.bound.iter().map(|address| (address.clone(), true)).collect();
        let found = changes(&now, &wanted);
        let kept: Vec<Address> = found.keep.iter().map(|(place, _)| now[*place].0.clone()).collect();
        for want in &found.bind {
            // The old ones are all still there.
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
                Stop::requested(self.now, GRACE, longest, at_most)
            }
            Some(stop) => stop.requested_again(self.now),
        };
        assert!(stop.ask <= stop.kill && stop.kill <= self.now + GRACE + longest, "bounded in time");
        self.stop = Some(stop);
        for session in self.sessions.values_mut() {
            session.ending.ask_at(stop.ask, Why::Stop);
            session.ending.kill_at(stop.kill);
        }
    }

    /// Every promise that can be seen from outside at any time.
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

    /// What waits gets its turn once programs end and work, and nothing stays.
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
        self.told += self.refusals.tell().iter().map(|(_, _, count)| count).sum::<u64>();
        assert_eq!(self.lines + self.told, self.sums.refused, "each refusal has a line or is counted");
        self.sums
    }
}

/// The rules once more: the longest prefix decides, deny wins a tie.
fn allowed(access: &Access, peer: Peer) -> bool {
    let Some(ip) = peer.ip() else { return true };
    let longest = |rules: &[ipnet::IpNet]| {
        (0..=128u8)
            .rev()
            .find(|&length| rules.iter().any(|rule| rule.prefix_len() == length && rule.contains(&ip)))
    };
    let denied = longest(&access.deny);
    match (&access.allow, denied) {
        (None, denied) => denied.is_none(),
        (Some(allow), None) => longest(allow).is_some(),
        (Some(allow), Some(denied)) => longest(allow).is_some_and(|length| length > denied),
    }
}

/// No window sees more than a burst and its share.
fn holds(rate: Rate, begins: &[Duration]) {
    let last = *begins.last().unwrap();
    for (place, first) in begins.iter().enumerate() {
        let count = (begins.len() - place) as f64 - 1.0;
        let share = (last - *first).as_secs_f64() / rate.per.as_secs_f64() * f64::from(rate.count);
        assert!(count <= f64::from(rate.count) + share, "the rate");
    }
}
