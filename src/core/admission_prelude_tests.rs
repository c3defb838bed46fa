//! Property tests: preludes hold no more than their share, and a refused client consumes nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::limits::Rate;
use crate::model::plan::Access;

const A: ServiceId = ServiceId(1);
const PATIENCE: Duration = Duration::from_secs(1);

/// One event. Indexes are taken modulo the number of candidates.
#[derive(Debug, Clone)]
enum Step {
    Comes,
    Named(usize, usize),
    Passes(usize),
    Ends(usize),
    Fails(usize),
    Time(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Comes),
        6 => (any::<usize>(), 0..4usize).prop_map(|(at, who)| Step::Named(at, who)),
        5 => any::<usize>().prop_map(Step::Passes),
        4 => any::<usize>().prop_map(Step::Ends),
        1 => any::<usize>().prop_map(Step::Fails),
        3 => (0..1500u64).prop_map(Step::Time),
    ];
    proptest::collection::vec(step, 0..120)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Header {
        since: Duration,
    },
    Handshake {
        since: Duration,
        who: usize,
    },
    Program {
        who: usize,
    },
    Refused {
        since: Duration,
    },
    /// Until it ends, its source is counted.
    Out {
        who: Option<usize>,
        refused: bool,
    },
}

impl At {
    fn since(self) -> Option<Duration> {
        match self {
            At::Header { since } | At::Handshake { since, .. } | At::Refused { since } => Some(since),
            At::Program { .. } | At::Out { .. } => None,
        }
    }
}

struct World {
    admission: Admission,
    admit: Admit,
    now: Duration,
    last: u64,
    sessions: BTreeMap<SessionId, At>,
    tickets: BTreeMap<SessionId, Ticket>,
    tries: Option<SessionId>,
    tokens: u32,
}

/// Client 3 is denied.
fn client(who: usize) -> Peer {
    Peer::Inet((IpAddr::from([192, 0, 2, u8::try_from(who).unwrap()]), 7).into())
}

impl World {
    fn new(admit: Admit) -> World {
        let mut admission = Admission::new(admit.max_connections);
        admission.configure(admit.max_connections, [(A, &admit, admit.max_connections)]);
        let (sessions, tickets) = (BTreeMap::new(), BTreeMap::new());
        World { admission, admit, now: Duration::ZERO, last: 0, sessions, tickets, tries: None, tokens: 0 }
    }

    fn one(&self, at: usize, wanted: impl Fn(At) -> bool) -> Option<SessionId> {
        let found: Vec<_> = self.sessions.iter().filter(|(_, at)| wanted(**at)).map(|(id, _)| *id).collect();
        (!found.is_empty()).then(|| found[at % found.len()])
    }

    fn preludes(&self) -> usize {
        self.sessions.values().filter(|at| at.since().is_some()).count()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Comes => self.comes(),
            Step::Named(at, who) => {
                if let Some(id) = self.one(at, |at| matches!(at, At::Header { .. })) {
                    self.named(id, who);
                }
            }
            Step::Passes(at) => {
                if let Some(id) = self.one(at, |at| matches!(at, At::Handshake { .. })) {
                    self.passes(id);
                }
            }
            Step::Ends(at) => {
                if let Some(id) = self.one(at, |_| true) {
                    self.ends(id);
                }
            }
            Step::Fails(at) => {
                if let Some(id) = self.one(at, |at| matches!(at, At::Program { .. })) {
                    self.admission.failed(&self.tickets[&id], "it crashed", self.now);
                    self.tries = self.tries.filter(|tries| *tries != id);
                    self.ends(id);
                }
            }
            Step::Time(milliseconds) => self.now += Duration::from_millis(milliseconds),
        }
    }

    fn comes(&mut self) {
        match self.admission.may_connect(A, self.now) {
            Connect::WaitFor(wait) => assert!(wait > Duration::ZERO),
            Connect::Wait => {
                assert_eq!(self.admission.evict(A, self.now), self.gives_way());
            }
            Connect::Accept => {
                self.last += 1;
                let id = SessionId(self.last);
                match self.admission.admit(id, A, Stage::Header, self.now) {
                    Ok(ticket) => {
                        self.tickets.insert(id, ticket);
                        self.tokens += 1;
                        self.sessions.insert(id, At::Header { since: self.now });
                    }
                    Err(Reason::Rate(rate)) => assert!(self.tokens >= rate.count, "no token was taken"),
                    Err(Reason::Paused(rest)) => assert!(rest > Duration::ZERO, "nobody is let in to wait"),
                    Err(reason) => assert_eq!(self.sessions.len(), self.admit.max_connections, "{reason}"),
                }
            }
        }
    }

    /// The session that admission should evict: the oldest prelude, once it has had its time.
    fn gives_way(&mut self) -> Option<SessionId> {
        let found = self.sessions.iter().find_map(|(id, at)| Some((*id, at.since()?)))?;
        let is_due = found.1 + PATIENCE <= self.now && self.preludes() >= self.share();
        let id = Some(found.0).filter(|_| is_due && self.sessions.len() < self.admit.max_connections)?;
        let who = match self.sessions[&id] {
            At::Handshake { who, .. } => Some(who),
            _ => None,
        };
        let refused = matches!(self.sessions[&id], At::Refused { .. });
        self.sessions.insert(id, At::Out { who, refused });
        Some(id)
    }

    fn share(&self) -> usize {
        (self.admit.max_connections / 2).clamp(1, 64)
    }

    fn named(&mut self, id: SessionId, who: usize) {
        let At::Header { since } = self.sessions[&id] else { return };
        let of_source = self.of_source(who);
        let most = self.admit.max_connections_per_source.unwrap();
        let ticket = self.tickets.get_mut(&id).unwrap();
        match self.admission.named(ticket, client(who), self.now) {
            Ok(connections) => {
                assert_eq!(connections, of_source + 1);
                assert!(connections <= most && who != 3, "{who} has {connections}");
                self.sessions.insert(id, At::Handshake { since, who });
            }
            Err(reason) => {
                assert!(who == 3 || of_source >= most, "{who}: {reason}");
                self.tokens -= 1;
                self.sessions.insert(id, At::Refused { since });
            }
        }
    }

    fn of_source(&self, who: usize) -> usize {
        let is_his = |at: &&At| match **at {
            At::Handshake { who: other, .. } | At::Program { who: other } => who == other,
            At::Out { who: other, .. } => other == Some(who),
            At::Header { .. } | At::Refused { .. } => false,
        };
        self.sessions.values().filter(is_his).count()
    }

    fn passes(&mut self, id: SessionId) {
        let At::Handshake { who, .. } = self.sessions[&id] else { return };
        let ticket = self.tickets.get_mut(&id).unwrap();
        let at = match self.admission.passed(ticket, self.now) {
            Ok(tries) => {
                assert!(self.tries.is_none(), "one tries, and nobody else starts");
                self.tries = tries.then_some(id);
                At::Program { who }
            }
            // The connection stays counted until it is closed.
            Err(reason) => {
                assert!(matches!(reason, Reason::Paused(_)), "{reason}");
                self.ends(id);
                return;
            }
        };
        self.sessions.insert(id, at);
    }

    fn ends(&mut self, id: SessionId) {
        let gate = self.gate();
        self.admission.ended(self.tickets.remove(&id).unwrap(), self.now);
        let at = self.sessions.remove(&id);
        let had_program = matches!(at, Some(At::Program { .. }));
        // A session that `named` refused has already returned its token.
        let refused = matches!(at, Some(At::Refused { .. } | At::Out { refused: true, .. }));
        if !had_program && !refused {
            self.tokens -= 1;
        }
        if !had_program {
            assert_eq!(self.gate(), gate, "who had no program says nothing of the service");
        }
        self.tries = self.tries.filter(|tries| *tries != id);
    }

    fn gate(&self) -> Gate {
        self.admission.services[&A].throttle.gate(self.now)
    }

    fn look(&self) {
        assert_eq!(self.admission.live(), self.sessions.len());
        assert!(self.sessions.len() <= self.admit.max_connections);
        let preludes: Vec<_> = self.admission.services[&A].preludes.iter().map(|(id, _)| *id).collect();
        assert!(preludes.len() <= self.share(), "{preludes:?}");
        assert!(preludes.is_sorted(), "the oldest is first");
        let sources: usize = self.admission.sources.values().sum();
        assert_eq!(sources, (0..4).map(|who| self.of_source(who)).sum::<usize>());
    }

    fn finish(mut self) {
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            self.ends(id);
            self.look();
        }
        let Admission { sources, services, .. } = &self.admission;
        assert!(sources.is_empty() && services[&A].preludes.is_empty());
        assert_eq!((self.admission.live(), self.admission.live_of(A)), (0, 0));
    }
}

fn behind_a_proxy(max_connections: usize, per_source: usize, when_full: WhenFull) -> Admit {
    let access = Access { deny: vec!["192.0.2.3".parse::<IpAddr>().unwrap().into()], ..Access::default() };
    let max_connections_per_source = Some(per_source);
    Admit { access, max_connections, max_connections_per_source, when_full, ..Admit::default() }
}

fn when_full() -> impl Strategy<Value = WhenFull> {
    prop_oneof![Just(WhenFull::Wait), Just(WhenFull::Refuse)]
}

proptest! {
    #[test]
    fn they_hold_no_more_than_their_share_and_nothing_of_them_stays(
        most in 1usize..12, per_source in 1usize..4, when_full in when_full(), steps in steps()
    ) {
        let mut world = World::new(behind_a_proxy(most, per_source, when_full));
        for step in &steps {
            world.step(step);
            world.look();
        }
        world.finish();
    }

    /// While no time passes, only returned tokens refill the bucket.
    #[test]
    fn session_that_starts_no_program_returns_its_token(
        count in 1u32..6, per_source in 1usize..4, when_full in when_full(), steps in steps()
    ) {
        let rate = Some(Rate { count, per: Duration::from_hours(1) });
        let mut world = World::new(Admit { rate, ..behind_a_proxy(20, per_source, when_full) });
        for step in steps.iter().filter(|step| !matches!(step, Step::Time(_) | Step::Fails(_))) {
            world.step(step);
            world.look();
            prop_assert!(world.tokens <= count, "{} of {count}", world.tokens);
            let waits = world.admission.services[&A].bucket.and_then(|bucket| bucket.wait(world.now));
            prop_assert_eq!(waits.is_some(), world.tokens == count);
        }
        world.finish();
    }
}
