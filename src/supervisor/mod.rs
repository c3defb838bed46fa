//! The one loop that joins listeners, decisions, sessions and controls. It
//! owns all mutable state; sessions and listeners only send it events.

mod accept;
mod answer;
mod event;
mod keys;
mod listeners;
pub mod manager;
mod reload;
mod stop;
mod warm;
mod workers;

use event::{Event, Sender};
pub use reload::Reloader;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::error::Error;
use crate::control::server::Command;
use crate::core::admission::{Admission, Ticket};
use crate::core::exhaustion::Exhaustion;
use crate::core::inherited::Given;
use crate::core::refusals::{RECORDS, Reason, TOLD_EVERY};
use crate::core::repeat_filter::RepeatFilter;
use crate::listen::{self, ListenerId, Slot};
use crate::log::Log;
use crate::log::event::{Event as Logged, Outcome, Record};
use crate::model::ids::{ServiceId, SessionId};
use crate::model::peer::Peer;
use crate::model::plan;
use crate::model::plan::{Plan, Service};
use crate::session::event::{Event as Said, Instructions, ServiceHealth, WarmEvent};
use crate::session::helpers::Helpers;
use crate::session::{Context, Session, StderrBudget};
use crate::spawn::Spawner;
use crate::supervisor::manager::Manager;
use crate::supervisor::workers::Workers;
use crate::sys;
use crate::sys::Request;
use crate::sys::net::Inherited;
use crate::sys::stop::Stop;
use crate::tls::keyring::{Keyring, Read as Keys};

/// While sessions live, what their programs left behind is reaped this often,
/// and while something lasts, a service manager is told so.
const EVERY_SECOND: Duration = Duration::from_secs(1);

/// A session that has not ended.
#[derive(Debug)]
struct Live {
    told: watch::Sender<Instructions>,
    /// What was admitted, until the session ends.
    ticket: Ticket,
    /// For the record, if it can't be brought to an end.
    session: Session,
    began: Instant,
    /// For whom it is, once a PROXY header has named somebody.
    client: Option<Peer>,
    /// Why that one was turned away.
    refused: Option<Reason>,
}

/// A service, and what came of its connections.
#[derive(Debug)]
struct Served {
    service: Arc<Service>,
    served: u64,
    refused: u64,
    failed: u64,
    /// How much its programs may complain together.
    stderr_budget: StderrBudget,
}

/// Serves a plan until it is told to stop.
#[derive(Debug)]
pub struct Supervisor {
    server: plan::Server,
    /// All services that are served.
    services: BTreeMap<ServiceId, Served>,
    /// Services that are gone, until their last session is: one of the same name
    /// that comes back is the same, or its limits would be counted anew.
    retired: Vec<(ServiceId, Arc<Service>)>,
    /// The order of the file, disabled ones among them.
    order: Vec<Arc<Service>>,
    last_service: usize,
    log: Log,
    spawner: Spawner,
    admission: Admission,
    refusals: RepeatFilter<(ServiceId, &'static str)>,
    refusals_told: Instant,
    /// Clients that are just being turned away with a word.
    turned_away: usize,
    slots: BTreeMap<ListenerId, Slot>,
    /// What a service manager has opened for us, with the listener that has the
    /// socket. Kept when that is closed: a bare port is open where the manager
    /// opened it and nowhere else, whatever is reloaded.
    given: Vec<(Given, Option<ListenerId>)>,
    last_listener: usize,
    sessions: HashMap<SessionId, Live>,
    warm: warm::Warm,
    /// What services need for TLS.
    keyring: Keyring,
    /// It will be tried again to read what the system could not.
    keys_pending: bool,
    /// When to look again whether a revocation list has expired.
    lists_at: Option<Instant>,
    workers: Workers,
    /// Make calls on connections that programs have had,
    ends: Helpers,
    /// and ask what moved on those that programs have.
    looks: Helpers,
    last_session: u64,
    /// Listeners that clients may wait at, in the order of their turns: each
    /// gets one client in, then goes to the back.
    turns: VecDeque<ListenerId>,
    /// The loop will come back to accept more.
    more_pending: bool,
    /// When a rate that somebody waits for has its next token.
    token_at: Option<Instant>,
    exhaustion: Exhaustion,
    /// Out of something: nobody is accepted until the timer or a session's end.
    held_back: bool,
    /// A timer for that is running. There is never a second one.
    retry_pending: bool,
    reloader: Reloader,
    reload: reload::Reload,
    began: Instant,
    sender: Sender,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Supervisor {
    /// Binds all addresses that are not among the sockets that we were given.
    /// Must be called within the loop.
    pub async fn start(
        plan: Plan,
        log: Log,
        given: Vec<Inherited>,
        reloader: Reloader,
    ) -> Result<Supervisor, Error> {
        let spawner = Spawner::start(log.clone())
            .map_err(|cause| Error::System { what: "the threads that start programs", cause })?;
        let workers =
            Workers::start().map_err(|cause| Error::System { what: "the threads that move bytes", cause })?;
        let (ends, looks) = (Helpers::start("ends")?, Helpers::start("looks")?);
        let (sender, events) = Sender::channel();
        let mut supervisor = Supervisor {
            server: plan.server.clone(),
            services: BTreeMap::new(),
            retired: Vec::new(),
            order: Vec::new(),
            last_service: 0,
            admission: Admission::new(0),
            log,
            spawner,
            refusals: RepeatFilter::new(RECORDS),
            refusals_told: Instant::now(),
            turned_away: 0,
            slots: BTreeMap::new(),
            given: Vec::new(),
            last_listener: 0,
            sessions: HashMap::new(),
            warm: warm::Warm::default(),
            keyring: Keyring::default(),
            keys_pending: false,
            lists_at: None,
            workers,
            ends,
            looks,
            last_session: 0,
            turns: VecDeque::new(),
            more_pending: false,
            token_at: None,
            exhaustion: Exhaustion::new(),
            held_back: false,
            retry_pending: false,
            reloader,
            reload: reload::Reload::default(),
            began: Instant::now(),
            sender,
            events,
        };
        let ids = supervisor.take_services(&plan);
        supervisor.make_slots(&plan, &ids, given);
        supervisor.configure_admission(&plan, &ids);
        // Files that were just read with the configuration: nothing is served yet.
        supervisor.renew_keys(Keyring::read(&plan));
        supervisor.bind_all().await;
        supervisor.renew_warm();
        Ok(supervisor)
    }

    /// Whether any address is bound.
    pub fn serves_anything(&self) -> bool {
        self.slots.values().any(|slot| slot.listener().is_some())
    }

    /// Serves until a stop is requested and everything is ended.
    pub async fn run(
        mut self,
        stop: &mut Stop,
        mut commands: mpsc::Receiver<Command>,
        manager: &mut dyn Manager,
    ) {
        // Clients are served from the beginning; only the word is kept back.
        let patience_ends = Instant::now() + manager.patience();
        let mut ready = false;
        let mut second = tokio::time::interval(EVERY_SECOND);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut orphans = false;
        let request = loop {
            if !ready && (self.is_complete() || Instant::now() >= patience_ends) {
                ready = true;
                self.say_ready(manager);
            }
            let (token_at, lists_at) = (self.token_at, self.lists_at);
            let busy = !ready || orphans || !self.sessions.is_empty() || self.refusals.any_suppressed();
            tokio::select! {
                biased;
                request = stop.requested() => match request {
                    Request::Stop(request) => break request,
                    Request::Reload { why } => self.reload(why, None, manager),
                },
                // These before clients, so that a flood of them hides nothing.
                Some(command) = commands.recv() => self.answer(command, manager),
                _ = second.tick(), if busy => {
                    orphans = sys::child::reap_orphans();
                    self.tell_refusals(false);
                    if !ready {
                        manager.starting();
                    }
                }
                () = tokio::time::sleep_until(token_at.unwrap_or(self.began)), if token_at.is_some() => {
                    self.token_at = None;
                    self.accept();
                }
                () = tokio::time::sleep_until(lists_at.unwrap_or(self.began)), if lists_at.is_some() => {
                    self.say_expired_lists();
                }
                Some(event) = self.events.recv() => {
                    // What a program has left behind may end when nobody is served any more.
                    orphans |= matches!(event, Event::Session(Said::Ended(_)) | Event::Warm(WarmEvent::Over(..)));
                    self.handle(event, manager).await;
                }
            }
        };
        self.stop(request, stop, commands, manager).await;
    }

    fn say_ready(&self, manager: &mut dyn Manager) {
        let addresses = self.addresses();
        manager.ready(addresses.len());
        self.log.event(Logged::Ready { services: self.services.len(), listen: addresses });
    }

    async fn handle(&mut self, event: Event, manager: &mut dyn Manager) {
        match event {
            Event::Listener(listen::Event::ClientsWait(listener)) => {
                self.turns.push_back(listener);
                self.accept();
            }
            Event::AcceptMore => {
                self.more_pending = false;
                // A flood must not keep the loop from its other tasks.
                tokio::task::yield_now().await;
                self.accept();
            }
            Event::AcceptAgain => {
                self.retry_pending = false;
                self.held_back = false;
                self.accept();
            }
            Event::Rebind(listener) => self.bind_again(listener).await,
            Event::Calm => {
                if self.exhaustion.is_over(self.began.elapsed()) {
                    self.log.event(Logged::AcceptResumed);
                }
            }
            Event::Session(event) => self.session_says(event),
            Event::WantsProgram(session, request) => self.give_program(session, request),
            Event::Warm(WarmEvent::Waits(id)) => self.warm_waits(id),
            Event::Warm(WarmEvent::Works(id)) => self.warm_works(id),
            Event::Warm(WarmEvent::Over(id, waited)) => self.warm_over(id, waited),
            Event::FillAgain(service) => self.fill_again(service),
            Event::RefusedGone => self.turned_away -= 1,
            Event::ReadKeys => self.read_keys(),
            Event::KeysRead(keys) => self.keys_read(keys),
            Event::Loaded(loaded) => self.loaded(*loaded, manager).await,
        }
    }

    fn session_says(&mut self, event: Said) {
        match event {
            Said::Named(session, client) => return self.named(session, client),
            Said::Passed(session) => self.passed(session),
            Said::Health(session, health) => {
                self.judge(session, health);
                self.fill_all();
            }
            Said::Lingers(session) => {
                if let Some(live) = self.sessions.get(&session) {
                    self.admission.lingers(&live.ticket);
                }
            }
            Said::IsHeld(session) => {
                if let Some(live) = self.sessions.get(&session) {
                    self.admission.is_held(&live.ticket);
                }
            }
            Said::Ended(record) => {
                self.ended(*record);
                self.held_back = false;
            }
        }
        // A client may wait for just that.
        self.accept();
    }

    fn ended(&mut self, record: Record) {
        let Some(live) = self.sessions.remove(&record.session) else { return };
        let now = self.began.elapsed();
        if let Some(served) = self.services.get_mut(&live.session.service_id) {
            match record.outcome {
                Outcome::Served => served.served += 1,
                Outcome::Refused => served.refused += 1,
                Outcome::Failed => served.failed += 1,
            }
        }
        self.admission.ended(live.ticket, now);
        // Refused after its header: not each of those has a line of its own.
        if let Some(reason) = live.refused
            && !self.refusals.allow((live.session.service_id, reason.kind()), now)
        {
            return;
        }
        self.log.event(Logged::session(record));
    }

    /// What a session says of its service.
    fn judge(&mut self, session: SessionId, health: ServiceHealth) {
        let now = self.began.elapsed();
        let is_alone = self.sessions.len() == 1;
        let Some(Live { ticket, session, .. }) = self.sessions.get(&session) else { return };
        let service = || session.service.name.clone();
        let cause = match health {
            ServiceHealth::Works => {
                if self.admission.worked(ticket) {
                    self.log.event(Logged::ServiceResumed { service: service() });
                }
                return;
            }
            ServiceHealth::Unknown => return self.admission.not_tried(ticket, now),
            // Clients can cause that by being many.
            ServiceHealth::FailedOrRanOut(_) if !is_alone => return self.admission.not_tried(ticket, now),
            ServiceHealth::Failed(cause) | ServiceHealth::FailedOrRanOut(cause) => cause,
        };
        if let Some(pause) = self.admission.failed(ticket, &cause, now) {
            self.log.event(Logged::ServicePaused { service: service(), cause, pause_seconds: pause });
        }
    }

    /// Says how many were refused without a line of their own.
    fn tell_refusals(&mut self, all: bool) {
        if !all && self.refusals_told.elapsed() < TOLD_EVERY {
            return;
        }
        self.refusals_told = Instant::now();
        for ((id, reason), count) in self.refusals.take_all_suppressed() {
            let served = self.services.get(&id).map(|served| &served.service);
            // One whose last clients are still being turned away.
            let retired = || self.retired.iter().find(|(other, _)| *other == id).map(|(_, service)| service);
            if let Some(service) = served.or_else(retired) {
                self.log.event(Logged::Refusals { service: service.name.clone(), reason, count });
            }
        }
    }

    /// What a session or a program of this service needs of us.
    fn context(&self, service: ServiceId) -> Context {
        let served = self.services.get(&service);
        let tls = served.and_then(|served| served.service.tls.as_ref());
        Context {
            spawner: self.spawner.clone(),
            events: Arc::new(self.sender.clone()),
            log: self.log.clone(),
            ends: self.ends.clone(),
            looks: self.looks.clone(),
            stderr_budget: served.map(|served| served.stderr_budget.clone()).unwrap_or_default(),
            keys: tls.and_then(|files| self.keyring.get(files)),
        }
    }
}
