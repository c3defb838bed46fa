//! The one loop that joins listeners, decisions, sessions and controls. It
//! owns all mutable state; sessions and listeners only send it events.

mod accept;
mod answer;
mod listeners;
mod reload;
mod stop;

pub use reload::Reloader;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::Loaded;
use crate::config::plan::{self, Plan, Service};
use crate::control::server::Command;
use crate::core::admission::Admission;
use crate::core::exhaustion::Exhaustion;
use crate::core::refusals::{Refusals, TOLD_EVERY};
use crate::core::{ServiceId, SessionId};
use crate::error::Error;
use crate::host::manager::Manager;
use crate::listen::{ListenerId, Slot};
use crate::log::Log;
use crate::log::event::{Event as Logged, Outcome, Record};
use crate::session::{Order, Session};
use crate::spawn::Spawner;
use crate::sys;
use crate::sys::Request;
use crate::sys::net::Inherited;
use crate::sys::stop::Stop;

/// While sessions live, what their programs left behind is reaped this often,
/// and while something lasts, a service manager is told so.
const EVERY_SECOND: Duration = Duration::from_secs(1);

/// What listeners, sessions and timers tell the supervisor.
#[derive(Debug)]
pub enum Event {
    /// Clients wait to be accepted.
    ClientsWait(ListenerId),
    /// Try again to bind.
    Rebind(ListenerId),
    /// Go on accepting, now that others had their turn.
    AcceptMore,
    /// Try again to accept.
    AcceptAgain,
    /// Accepting has worked for a while.
    Calm,
    /// The program of a session that tries its service has lived for long
    /// enough: it works.
    Worked(SessionId),
    /// A session's program is gone, and its last bytes are being delivered.
    Lingers(SessionId, Option<OwnFault>),
    /// A session has ended.
    Ended(Box<Record>, Option<OwnFault>),
    /// A client that was turned away is gone.
    TurnedAway,
    /// The files were read again.
    Loaded(Box<Result<Loaded, Error>>),
}

/// Why a program failed by itself, which no client can cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFault(pub String);

/// A session that has not ended.
#[derive(Debug)]
struct Live {
    orders: watch::Sender<Order>,
    /// For the record, if it can't be brought to an end.
    session: Session,
    began: Instant,
    /// The program's process, once it runs.
    pid: Arc<OnceLock<u32>>,
}

/// A service, and what came of its connections.
#[derive(Debug)]
struct Served {
    service: Arc<Service>,
    served: u64,
    refused: u64,
    failed: u64,
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
    refusals: Refusals,
    refusals_told: Instant,
    /// Clients that are just being turned away with a word.
    turned_away: usize,
    slots: BTreeMap<ListenerId, Slot>,
    last_listener: usize,
    sessions: HashMap<SessionId, Live>,
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
    sender: mpsc::UnboundedSender<Event>,
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
        let spawner = Spawner::start()
            .map_err(|cause| Error::System { what: "the threads that start programs", cause })?;
        let (sender, events) = mpsc::unbounded_channel();
        let mut supervisor = Supervisor {
            server: plan.server.clone(),
            services: BTreeMap::new(),
            retired: Vec::new(),
            order: Vec::new(),
            last_service: 0,
            admission: Admission::new(0),
            log,
            spawner,
            refusals: Refusals::default(),
            refusals_told: Instant::now(),
            turned_away: 0,
            slots: BTreeMap::new(),
            last_listener: 0,
            sessions: HashMap::new(),
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
        supervisor.bind_all().await;
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
            let token_at = self.token_at;
            let busy = !ready || orphans || !self.sessions.is_empty() || self.refusals.are_silent();
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
                Some(event) = self.events.recv() => self.handle(event, manager).await,
            }
        };
        self.stop(request, stop, commands, manager).await;
    }

    fn say_ready(&self, manager: &mut dyn Manager) {
        let addresses = self.addresses();
        manager.ready(addresses.len());
        self.log.event(Logged::Ready { addresses, services: self.services.len() });
    }

    async fn handle(&mut self, event: Event, manager: &mut dyn Manager) {
        match event {
            Event::ClientsWait(listener) => {
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
            Event::Worked(session) => {
                self.worked(session);
                self.accept();
            }
            Event::Lingers(session, fault) => {
                self.judge(session, fault);
                self.admission.lingers(session);
                // Somebody may be waiting for just that.
                self.accept();
            }
            Event::Ended(record, fault) => {
                self.judge(record.session, fault);
                self.ended(*record);
                self.held_back = false;
                self.accept();
            }
            Event::TurnedAway => self.turned_away -= 1,
            Event::Loaded(loaded) => self.loaded(*loaded, manager).await,
        }
    }

    fn ended(&mut self, record: Record) {
        if let Some(live) = self.sessions.remove(&record.session)
            && let Some(served) = self.services.get_mut(&live.session.service_id)
        {
            match record.outcome {
                Outcome::Served => served.served += 1,
                Outcome::Refused => served.refused += 1,
                Outcome::Failed => served.failed += 1,
            }
        }
        self.admission.ended(record.session);
        self.log.event(Logged::Session(Box::new(record)));
    }

    /// What a session's program says of its service.
    fn judge(&mut self, session: SessionId, fault: Option<OwnFault>) {
        let Some(OwnFault(cause)) = fault else { return self.worked(session) };
        let pause = self.admission.failed(session, &cause, self.began.elapsed());
        if let Some(pause) = pause {
            self.log.event(Logged::ServicePaused { service: self.name_of(session), cause, pause });
        }
    }

    fn worked(&mut self, session: SessionId) {
        if self.admission.worked(session) {
            self.log.event(Logged::ServiceResumed { service: self.name_of(session) });
        }
    }

    fn name_of(&self, session: SessionId) -> String {
        self.sessions.get(&session).map_or_else(String::new, |live| live.session.service.name.clone())
    }

    /// Says how many were refused without a line of their own.
    fn tell_refusals(&mut self, all: bool) {
        if !all && self.refusals_told.elapsed() < TOLD_EVERY {
            return;
        }
        self.refusals_told = Instant::now();
        for (service, reason, count) in self.refusals.tell() {
            if let Some(served) = self.services.get(&service) {
                let service = served.service.name.clone();
                self.log.event(Logged::Refusals { service, reason, count });
            }
        }
    }

    fn later(&self, delay: Duration, event: Event) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = sender.send(event);
        });
    }
}
