//! Programs that are started ahead of their clients: how many wait, which session takes
//! one, and when another is started in its place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::certificates::Certificates;
use super::event::Event;
use super::hub::Hub;
use super::services::Services;
use super::sessions::Sessions;
use crate::core::admission::Admission;
use crate::core::backoff::Backoff;
use crate::core::ending::EndReason;
use crate::log::event::LogEvent;
use crate::model::ids::{ServiceId, SessionId};
use crate::session::event::{Instructions, Order, Waited, WarmEvent, WarmId};
use crate::session::warm::{Ahead, WarmRequest, wait_for_client};

/// A program that ends before anybody comes for it is replaced after this,
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// doubling up to this as long as no client comes.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// All programs that wait or are being started or ended.
#[derive(Debug, Default)]
pub(super) struct WarmPrograms {
    programs: BTreeMap<WarmId, WarmProgram>,
    pools: BTreeMap<ServiceId, Pool>,
    last: u64,
}

#[derive(Debug)]
struct WarmProgram {
    service: ServiceId,
    told: watch::Sender<Instructions>,
    /// Where a session asks for it; gone once one has, or it is to end.
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

impl WarmPrograms {
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// How many of a service wait.
    pub fn waiting(&self, service: ServiceId) -> usize {
        self.pools.get(&service).map_or(0, |pool| pool.waiting.len())
    }

    /// How many of a service wait, or will.
    fn usable(&self, service: ServiceId) -> usize {
        self.pools.get(&service).map_or(0, |pool| pool.usable.len())
    }

    /// Ends all that wait.
    pub fn end(&mut self, order: Order) {
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

    /// All that wait are ended; those of the services of now are started.
    pub fn renew(&mut self, with: &mut Around<'_>) {
        self.end(Order::ask_now(EndReason::Stop));
        let warm = with.services.iter().filter(|(_, served)| served.service.warm.is_some());
        let ids: Vec<ServiceId> = warm.map(|(id, _)| id).collect();
        for id in ids {
            let pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            let pool = Pool { usable: BTreeSet::new(), waiting: VecDeque::new(), pause, not_before: None };
            self.pools.insert(id, pool);
            self.fill(id, with);
        }
    }

    /// Starts as many as the service lacks. Where it is to be tried whether it
    /// works, only one.
    fn fill(&mut self, id: ServiceId, with: &mut Around<'_>) {
        let Some(service) = with.services.plan(id).cloned() else { return };
        let Some(wanted) = service.warm.map(|warm| warm.programs) else { return };
        if self.pools.get(&id).is_none_or(|pool| pool.not_before.is_some()) {
            return;
        }
        // One that has been waiting well may say so once the pause is over.
        let waits_well =
            |program: &WarmProgram| program.service == id && program.worked && program.take.is_some();
        if self.programs.values().any(waits_well) {
            with.works_alone(id);
        }
        let now = with.hub.now();
        let most = match with.admission.may_start_alone(id, now) {
            Ok(()) if with.admission.pause_of(id, now).is_some() => 1,
            Ok(()) => wanted,
            Err(Some(rest)) => return self.fill_later(id, rest, with.hub),
            // What comes of a session that tries decides.
            Err(None) => return,
        };
        while self.usable(id) < wanted.min(most) {
            self.last += 1;
            let warm = WarmId(self.last);
            let (told, inbox) = watch::channel(Instructions::default());
            let (take, taken) = oneshot::channel();
            if let Some(pool) = self.pools.get_mut(&id) {
                pool.usable.insert(warm);
            }
            self.programs.insert(warm, WarmProgram { service: id, told, take: Some(take), worked: false });
            let context = with.hub.context(id, with.services, with.certificates);
            let ahead = Ahead { id: warm, service: Arc::clone(&service), service_id: id };
            with.hub.workers.spawn(wait_for_client(ahead, context, inbox, taken));
        }
    }

    fn fill_later(&mut self, id: ServiceId, delay: Duration, hub: &Hub) {
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.not_before = Some(Instant::now() + delay);
            hub.sender.send_later(delay, Event::FillAgain(id));
        }
    }

    pub fn fill_again(&mut self, id: ServiceId, with: &mut Around<'_>) {
        // The timer may be that of a pool before a reload.
        if let Some(pool) = self.pools.get_mut(&id)
            && pool.not_before.is_some_and(|at| at <= Instant::now())
        {
            pool.not_before = None;
            self.fill(id, with);
        }
    }

    /// All services, since one may lack some now that something has changed.
    pub fn fill_all(&mut self, with: &mut Around<'_>) {
        let ids: Vec<ServiceId> = self.pools.keys().copied().collect();
        for id in ids {
            self.fill(id, with);
        }
    }

    /// A session takes the program that has waited longest; without one it hears
    /// so at once, and starts its own.
    pub fn give(&mut self, session: SessionId, request: WarmRequest, with: &mut Around<'_>) {
        let Some((id, service)) = with.sessions.service(session) else { return };
        // What waits is of the files of now; a client that came before a reload is served
        // as they said then.
        if !with.services.plan(id).is_some_and(|plan| Arc::ptr_eq(plan, service)) {
            return;
        }
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let Some(first) = pool.waiting.pop_front() else { return };
        pool.usable.remove(&first);
        pool.pause.succeeded();
        let take = self.programs.get_mut(&first).and_then(|program| program.take.take());
        // One that ends at this moment drops what it is sent, and the session hears.
        if let Some(take) = take {
            let _ = take.send(request);
        }
        self.fill(id, with);
    }

    /// What a program that waits says. True if a service works again: clients may wait for that.
    pub fn says(&mut self, event: WarmEvent, with: &mut Around<'_>) -> bool {
        match event {
            WarmEvent::Waits(id) => self.waits(id),
            WarmEvent::Works(id) => return self.works(id, with),
            WarmEvent::Over(id, waited) => self.over(id, waited, with),
        }
        false
    }

    fn waits(&mut self, id: WarmId) {
        if let Some(program) = self.programs.get(&id).filter(|program| program.take.is_some())
            && let Some(pool) = self.pools.get_mut(&program.service)
        {
            pool.waiting.push_back(id);
        }
    }

    /// It has waited for long enough to say that the service works.
    fn works(&mut self, id: WarmId, with: &mut Around<'_>) -> bool {
        let program = self.programs.get_mut(&id).filter(|program| program.take.is_some());
        let Some(program) = program else { return false };
        program.worked = true;
        let service = program.service;
        let recovered = with.works_alone(service);
        if recovered {
            self.fill(service, with);
        }
        recovered
    }

    pub fn over(&mut self, id: WarmId, waited: Waited, with: &mut Around<'_>) {
        let usable = self.programs.get(&id).is_some_and(|program| program.take.is_some());
        let service = self.no_longer(id);
        self.programs.remove(&id);
        // What was to end anyway says nothing.
        let Some(service) = service.filter(|_| usable) else { return };
        match waited {
            Waited::Taken | Waited::Gone => self.fill(service, with),
            Waited::Failed { cause, own: true } => {
                if let Some(pause) = with.admission.failed_alone(service, &cause, with.hub.now()) {
                    let service = with.services.name(service);
                    with.hub.log.event(LogEvent::ServicePaused { service, cause, pause_seconds: pause });
                }
                self.fill(service, with);
            }
            Waited::Failed { own: false, .. } | Waited::Ended => {
                // Those that end together are replaced together.
                let pool = self.pools.get_mut(&service).filter(|pool| pool.not_before.is_none());
                if let Some(pause) = pool.map(|pool| pool.pause.failed()) {
                    self.fill_later(service, pause, with.hub);
                }
            }
        }
    }
}

/// What a pool asks of other components.
pub(super) struct Around<'a> {
    pub sessions: &'a Sessions,
    pub services: &'a Services,
    pub certificates: &'a Certificates,
    pub admission: &'a mut Admission,
    pub hub: &'a Hub,
}

impl Around<'_> {
    /// A program of the service waits well. True if that ends a pause.
    fn works_alone(&mut self, service: ServiceId) -> bool {
        let recovered = self.admission.works_alone(service, self.hub.now());
        if recovered {
            self.hub.log.event(LogEvent::ServiceResumed { service: self.services.name(service) });
        }
        recovered
    }
}
