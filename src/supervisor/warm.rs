//! Programs that are started ahead of their clients: how many wait, who takes
//! one, and when another is started in its place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{Event, Supervisor};
use crate::core::backoff::Backoff;
use crate::core::ending::EndReason;
use crate::log::event::Event as Logged;
use crate::model::ids::{ServiceId, SessionId};
use crate::session::Session;
use crate::session::event::{Instructions, Order, Waited, WarmId};
use crate::session::warm::{Ahead, WarmRequest, wait_for_client};

/// A program that ends before anybody comes for it is replaced after this,
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// doubling up to this as long as nobody comes.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// All programs that wait or are being started or ended.
#[derive(Debug, Default)]
pub(super) struct Warm {
    programs: BTreeMap<WarmId, Program>,
    pools: BTreeMap<ServiceId, Pool>,
    last: u64,
}

#[derive(Debug)]
struct Program {
    service: ServiceId,
    told: watch::Sender<Instructions>,
    /// Whoever takes it; gone once somebody has, or it is to end.
    take: Option<oneshot::Sender<WarmRequest>>,
    /// It has waited for long enough to say that the service works.
    worked: bool,
}

/// The programs of one service.
#[derive(Debug)]
struct Pool {
    /// Those that wait, or will.
    usable: BTreeSet<WarmId>,
    /// Those that wait, the longest first.
    waiting: VecDeque<WarmId>,
    /// How long to wait where they end by themselves.
    pause: Backoff,
    /// No more are started before then, when a timer ends.
    not_before: Option<Instant>,
}

impl Warm {
    pub(super) fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// How many of a service wait.
    pub(super) fn waiting(&self, service: ServiceId) -> usize {
        self.pools.get(&service).map_or(0, |pool| pool.waiting.len())
    }

    /// How many of a service wait, or will.
    fn usable(&self, service: ServiceId) -> usize {
        self.pools.get(&service).map_or(0, |pool| pool.usable.len())
    }

    fn order(&mut self, order: Order) {
        for program in self.programs.values_mut() {
            program.take = None;
            program.told.send_modify(|told| told.order = order);
        }
        self.pools.clear();
    }

    /// Forgets that it waits, or will.
    fn no_longer(&mut self, id: WarmId) -> Option<ServiceId> {
        let program = self.programs.get_mut(&id)?;
        program.take = None;
        if let Some(pool) = self.pools.get_mut(&program.service) {
            pool.usable.remove(&id);
            pool.waiting.retain(|other| *other != id);
        }
        Some(program.service)
    }
}

impl Supervisor {
    /// All that wait are ended; those of the services of now are started.
    pub(super) fn renew_warm(&mut self) {
        self.end_warm(Order::ask_now(EndReason::Stop));
        let warm = self.services.iter().filter(|(_, served)| served.service.warm.is_some());
        let ids: Vec<ServiceId> = warm.map(|(id, _)| *id).collect();
        for id in ids {
            let pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            let pool = Pool { usable: BTreeSet::new(), waiting: VecDeque::new(), pause, not_before: None };
            self.warm.pools.insert(id, pool);
            self.fill(id);
        }
    }

    /// Ends all that wait.
    pub(super) fn end_warm(&mut self, order: Order) {
        self.warm.order(order);
    }

    /// Starts as many as the service lacks. Where it is to be tried whether it
    /// works, only one.
    pub(super) fn fill(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(&id).map(|served| served.service.clone()) else { return };
        let Some(wanted) = service.warm.map(|warm| warm.programs) else { return };
        if self.warm.pools.get(&id).is_none_or(|pool| pool.not_before.is_some()) {
            return;
        }
        // One that has been waiting well may say so once the pause is over.
        if self
            .warm
            .programs
            .values()
            .any(|program| program.service == id && program.worked && program.take.is_some())
        {
            self.works_alone(id);
        }
        let now = self.began.elapsed();
        let most = match self.admission.may_start_alone(id, now) {
            Ok(()) if self.admission.pause_of(id, now).is_some() => 1,
            Ok(()) => wanted,
            Err(Some(rest)) => return self.fill_later(id, rest),
            // What comes of a session that tries decides.
            Err(None) => return,
        };
        while self.warm.usable(id) < wanted.min(most) {
            self.warm.last += 1;
            let warm = WarmId(self.warm.last);
            let (told, inbox) = watch::channel(Instructions::default());
            let (take, taken) = oneshot::channel();
            if let Some(pool) = self.warm.pools.get_mut(&id) {
                pool.usable.insert(warm);
            }
            self.warm.programs.insert(warm, Program { service: id, told, take: Some(take), worked: false });
            let context = self.context(id);
            let ahead = Ahead { id: warm, service: Arc::clone(&service), service_id: id };
            self.workers.spawn(wait_for_client(ahead, context, inbox, taken));
        }
    }

    fn fill_later(&mut self, id: ServiceId, delay: Duration) {
        if let Some(pool) = self.warm.pools.get_mut(&id) {
            pool.not_before = Some(Instant::now() + delay);
            self.sender.send_later(delay, Event::FillAgain(id));
        }
    }

    pub(super) fn fill_again(&mut self, id: ServiceId) {
        // The timer may be that of a pool before a reload.
        if let Some(pool) = self.warm.pools.get_mut(&id)
            && pool.not_before.is_some_and(|at| at <= Instant::now())
        {
            pool.not_before = None;
            self.fill(id);
        }
    }

    /// All services, since one may lack some now that something has changed.
    pub(super) fn fill_all(&mut self) {
        let ids: Vec<ServiceId> = self.warm.pools.keys().copied().collect();
        for id in ids {
            self.fill(id);
        }
    }

    /// A session takes the program that has waited longest; without one it hears
    /// so at once, and starts its own.
    pub(super) fn give_program(&mut self, session: SessionId, request: WarmRequest) {
        let Some(Session { service, service_id: id, .. }) =
            self.sessions.get(&session).map(|live| &live.session)
        else {
            return;
        };
        let id = *id;
        // What waits is of the files of now; who came before a reload is served as
        // they said then.
        if !self.services.get(&id).is_some_and(|served| Arc::ptr_eq(&served.service, service)) {
            return;
        }
        let Some(pool) = self.warm.pools.get_mut(&id) else { return };
        let Some(first) = pool.waiting.pop_front() else { return };
        pool.usable.remove(&first);
        pool.pause.succeeded();
        let take = self.warm.programs.get_mut(&first).and_then(|program| program.take.take());
        // One that ends at this moment drops what it is sent, and the session hears.
        if let Some(take) = take {
            let _ = take.send(request);
        }
        self.fill(id);
    }

    pub(super) fn warm_waits(&mut self, id: WarmId) {
        if let Some(program) = self.warm.programs.get(&id).filter(|program| program.take.is_some())
            && let Some(pool) = self.warm.pools.get_mut(&program.service)
        {
            pool.waiting.push_back(id);
        }
    }

    /// It has waited for long enough to say that the service works.
    pub(super) fn warm_works(&mut self, id: WarmId) {
        let program = self.warm.programs.get_mut(&id).filter(|program| program.take.is_some());
        let Some(program) = program else { return };
        program.worked = true;
        let service = program.service;
        if self.works_alone(service) {
            self.fill(service);
            self.accept();
        }
    }

    fn works_alone(&mut self, service: ServiceId) -> bool {
        let recovered = self.admission.works_alone(service, self.began.elapsed());
        if recovered && let Some(served) = self.services.get(&service) {
            self.log.event(Logged::ServiceResumed { service: served.service.name.clone() });
        }
        recovered
    }

    pub(super) fn warm_over(&mut self, id: WarmId, waited: Waited) {
        let usable = self.warm.programs.get(&id).is_some_and(|program| program.take.is_some());
        let service = self.warm.no_longer(id);
        self.warm.programs.remove(&id);
        // What was to end anyway says nothing.
        let Some(service) = service.filter(|_| usable) else { return };
        match waited {
            Waited::Taken | Waited::Gone => self.fill(service),
            Waited::Failed { cause, own: true } => {
                if let Some(pause) = self.admission.failed_alone(service, &cause, self.began.elapsed())
                    && let Some(served) = self.services.get(&service)
                {
                    let service = served.service.name.clone();
                    self.log.event(Logged::ServicePaused { service, cause, pause_seconds: pause });
                }
                self.fill(service);
            }
            Waited::Failed { own: false, .. } | Waited::Ended => {
                // Those that end together are replaced together.
                let pool = self.warm.pools.get_mut(&service).filter(|pool| pool.not_before.is_none());
                if let Some(pause) = pool.map(|pool| pool.pause.failed()) {
                    self.fill_later(service, pause);
                }
            }
        }
    }
}
