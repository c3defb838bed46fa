//! Warm programs, which the server starts before their clients connect: how many wait, which
//! session takes one, and when the server starts a replacement.

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

/// The first pause before the server replaces a program that ended without a client.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause. Pauses double up to this value as long as no client comes.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

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
    /// Takes a session's request for the program. `None` once the program is taken or must end.
    take: Option<oneshot::Sender<WarmRequest>>,
    /// The program has waited long enough to show that the service works.
    worked: bool,
}

#[derive(Debug)]
struct Pool {
    /// Programs that wait or are starting.
    usable: BTreeSet<WarmId>,
    /// Programs that wait, the longest first.
    waiting: VecDeque<WarmId>,
    pause: Backoff,
    /// The earliest time for starting more programs. A timer runs until then.
    not_before: Option<Instant>,
}

impl WarmPrograms {
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    pub fn waiting(&self, service: ServiceId) -> usize {
        self.pools.get(&service).map_or(0, |pool| pool.waiting.len())
    }

    fn usable(&self, service: ServiceId) -> usize {
        self.pools.get(&service).map_or(0, |pool| pool.usable.len())
    }

    pub fn end(&mut self, order: Order) {
        for program in self.programs.values_mut() {
            program.take = None;
            program.told.send_modify(|told| told.order = order);
        }
        self.pools.clear();
    }

    fn no_longer(&mut self, id: WarmId) -> Option<ServiceId> {
        let program = self.programs.get_mut(&id)?;
        program.take = None;
        if let Some(pool) = self.pools.get_mut(&program.service) {
            pool.usable.remove(&id);
            pool.waiting.retain(|other| *other != id);
        }
        Some(program.service)
    }

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

    /// Starts the programs that the service lacks. Starts only one, as a probe, if the service is
    /// due for one after a pause.
    fn fill(&mut self, id: ServiceId, with: &mut Around<'_>) {
        let Some(service) = with.services.plan(id).cloned() else { return };
        let Some(wanted) = service.warm.map(|warm| warm.programs) else { return };
        if self.pools.get(&id).is_none_or(|pool| pool.not_before.is_some()) {
            return;
        }
        // A program that has waited long enough counts as the probe once the pause is over.
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
            // The result of the probe session decides.
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
        // The timer may belong to a pool from before a reload.
        if let Some(pool) = self.pools.get_mut(&id)
            && pool.not_before.is_some_and(|at| at <= Instant::now())
        {
            pool.not_before = None;
            self.fill(id, with);
        }
    }

    pub fn fill_all(&mut self, with: &mut Around<'_>) {
        let ids: Vec<ServiceId> = self.pools.keys().copied().collect();
        for id in ids {
            self.fill(id, with);
        }
    }

    /// Gives the session the program that has waited longest. Without one it drops `request`, and
    /// the session starts its own program.
    pub fn give(&mut self, session: SessionId, request: WarmRequest, with: &mut Around<'_>) {
        let Some((id, service)) = with.sessions.service(session) else { return };
        // Warm programs belong to the current configuration. A client from before a reload is
        // served by the previous one.
        if !with.services.plan(id).is_some_and(|plan| Arc::ptr_eq(plan, service)) {
            return;
        }
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let Some(first) = pool.waiting.pop_front() else { return };
        pool.usable.remove(&first);
        pool.pause.succeeded();
        let take = self.programs.get_mut(&first).and_then(|program| program.take.take());
        // A program that ends at this moment drops the request, and the session notices.
        if let Some(take) = take {
            let _ = take.send(request);
        }
        self.fill(id, with);
    }

    /// Returns true if the service works again and clients may be waiting.
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
        // The server had ended the program anyway.
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
                // One timer replaces all programs that end together.
                let pool = self.pools.get_mut(&service).filter(|pool| pool.not_before.is_none());
                if let Some(pause) = pool.map(|pool| pool.pause.failed()) {
                    self.fill_later(service, pause, with.hub);
                }
            }
        }
    }
}

pub(super) struct Around<'a> {
    pub sessions: &'a Sessions,
    pub services: &'a Services,
    pub certificates: &'a Certificates,
    pub admission: &'a mut Admission,
    pub hub: &'a Hub,
}

impl Around<'_> {
    /// Returns true if that ends a pause.
    fn works_alone(&mut self, service: ServiceId) -> bool {
        let recovered = self.admission.works_alone(service, self.hub.now());
        if recovered {
            self.hub.log.event(LogEvent::ServiceResumed { service: self.services.name(service) });
        }
        recovered
    }
}
