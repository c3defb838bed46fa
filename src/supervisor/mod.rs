//! The one loop that joins listeners, decisions, sessions and controls. It
//! owns all mutable state; sessions and listeners only send it events.

mod accept;
mod stop;

pub use stop::LAST_RESORT;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::plan::Plan;
use crate::core::admission::{Admission, share_of_total, total_from_descriptors};
use crate::core::exhaustion::Exhaustion;
use crate::core::{ServiceId, SessionId};
use crate::error::Error;
use crate::host::manager::Manager;
use crate::listen::inherited::{Assignment, assign};
use crate::listen::{ListenerId, Slot};
use crate::log::Log;
use crate::log::event::{Event as Logged, Level, Record};
use crate::session::{Order, Session};
use crate::spawn::Spawner;
use crate::sys;
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
    /// A session's program is gone, and its last bytes are being delivered.
    Lingers(SessionId),
    /// A session has ended.
    Ended(Box<Record>),
}

/// A session that has not ended.
#[derive(Debug)]
struct Live {
    orders: watch::Sender<Order>,
    /// For the record, if it can't be brought to an end.
    session: Session,
}

/// Serves a plan until it is told to stop.
#[derive(Debug)]
pub struct Supervisor {
    plan: Plan,
    log: Log,
    spawner: Spawner,
    admission: Admission,
    slots: Vec<Slot>,
    sessions: HashMap<SessionId, Live>,
    last_session: u64,
    /// Listeners that clients may wait at, in the order of their turns: each
    /// gets one client in, then goes to the back.
    turns: VecDeque<ListenerId>,
    exhaustion: Exhaustion,
    /// Out of something: nobody is accepted until the timer or a session's end.
    held_back: bool,
    /// A timer for that is running. There is never a second one.
    retry_pending: bool,
    began: Instant,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Supervisor {
    /// Binds all addresses that are not among the sockets that we were given.
    /// Must be called within the loop.
    pub fn start(plan: Plan, log: Log, given: Vec<Inherited>) -> Result<Supervisor, Error> {
        let spawner = Spawner::start()
            .map_err(|cause| Error::System { what: "the threads that start programs", cause })?;
        let slots = slots(&plan, given, &log);
        let total = total_from_descriptors(sys::process::descriptor_limit(), slots.len());
        let most = plan.services.iter().map(|service| service.admit.max_connections).max().unwrap_or(0);
        if total < most {
            let message = format!("the descriptor limit leaves room for {total} connections at once");
            let hint = Some("raise it (ulimit -n, LimitNOFILE=)".to_owned());
            log.event(Logged::Configuration { level: Level::Warning, message, hint });
        }
        let count = plan.services.len();
        let limits =
            plan.services.iter().map(|service| share_of_total(service.admit.max_connections, total, count));
        let limits: Vec<_> = limits.collect();
        let (sender, events) = mpsc::unbounded_channel();
        let mut supervisor = Supervisor {
            admission: Admission::new(total, limits),
            plan,
            log,
            spawner,
            slots,
            sessions: HashMap::new(),
            last_session: 0,
            turns: VecDeque::new(),
            exhaustion: Exhaustion::new(),
            held_back: false,
            retry_pending: false,
            began: Instant::now(),
            sender,
            events,
        };
        supervisor.bind_all();
        Ok(supervisor)
    }

    /// Whether any address is bound.
    pub fn serves_anything(&self) -> bool {
        self.slots.iter().any(|slot| slot.listener().is_some())
    }

    /// Serves until a stop is requested and everything is ended.
    pub async fn run(mut self, stop: &mut Stop, manager: &mut dyn Manager) {
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
            tokio::select! {
                biased;
                request = stop.requested() => match request {
                    sys::Request::Stop(request) => break request,
                    // Not done yet: the files are read at the start only.
                    sys::Request::Reload { .. } => {}
                },
                Some(event) = self.events.recv() => self.handle(event),
                _ = second.tick(), if !ready || orphans || !self.sessions.is_empty() => {
                    orphans = sys::child::reap_orphans();
                    if !ready {
                        manager.starting();
                    }
                }
            }
        };
        self.stop(request, stop, manager).await;
    }

    fn say_ready(&self, manager: &mut dyn Manager) {
        let addresses = self.addresses();
        manager.ready(addresses.len());
        self.log.event(Logged::Ready { addresses, services: self.plan.services.len() });
    }

    /// Whether every address that this host has is bound.
    fn is_complete(&self) -> bool {
        self.slots.iter().all(|slot| slot.listener().is_some() || slot.is_missing)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ClientsWait(listener) => {
                self.turns.push_back(listener);
                self.accept();
            }
            Event::AcceptMore => self.accept(),
            Event::AcceptAgain => {
                self.retry_pending = false;
                self.held_back = false;
                self.accept();
            }
            Event::Rebind(listener) => self.bind_again(listener),
            Event::Calm => {
                if self.exhaustion.is_over(self.began.elapsed()) {
                    self.log.event(Logged::AcceptResumed);
                }
            }
            Event::Lingers(session) => {
                self.admission.lingers(session);
                // Somebody may be waiting for just that.
                self.accept();
            }
            Event::Ended(record) => {
                self.ended(*record);
                self.held_back = false;
                self.accept();
            }
        }
    }

    fn ended(&mut self, record: Record) {
        self.admission.ended(record.session);
        self.sessions.remove(&record.session);
        self.log.event(Logged::Session(Box::new(record)));
    }

    fn addresses(&self) -> Vec<String> {
        let listeners = self.slots.iter().filter_map(|slot| slot.listener());
        listeners
            .filter_map(|listener| listener.local_addr().ok())
            .map(|address| address.to_string())
            .collect()
    }

    fn bind_all(&mut self) {
        let mut missing_family_said = false;
        for index in 0..self.slots.len() {
            let address = self.slots[index].address.clone();
            if let Err(error) = self.try_bind(ListenerId(index)) {
                // A host without IPv6 is as it should be: one line, no retry.
                if sys::net::family_is_missing(&error) && address.is_all() {
                    if !missing_family_said {
                        self.log.event(Logged::FamilyMissing { address });
                    }
                    missing_family_said = true;
                    self.slots[index].is_missing = true;
                    continue;
                }
                self.bind_later(ListenerId(index), &error);
            }
        }
    }

    fn try_bind(&mut self, id: ListenerId) -> std::io::Result<()> {
        self.slots[id.0].bind(id, self.sender.clone())
    }

    fn bind_again(&mut self, id: ListenerId) {
        match self.try_bind(id) {
            Ok(()) => {
                let slot = &self.slots[id.0];
                let service = self.plan.services[slot.service.0].name.clone();
                self.log.event(Logged::ListenRecovered { service, address: slot.address.clone() });
            }
            Err(error) => self.bind_later(id, &error),
        }
    }

    fn bind_later(&mut self, id: ListenerId, error: &std::io::Error) {
        let slot = &mut self.slots[id.0];
        let retry = slot.backoff.failed();
        self.log.event(Logged::ListenFailed {
            service: self.plan.services[slot.service.0].name.clone(),
            address: slot.address.clone(),
            cause: error.to_string(),
            hint: sys::net::bind_hint(error, &slot.address),
            retry,
        });
        self.later(retry, Event::Rebind(id));
    }

    fn later(&self, delay: Duration, event: Event) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = sender.send(event);
        });
    }
}

/// A slot for each address that is wanted, with the socket that stands for it
/// where one was given. What nobody wants is closed, or its clients would wait
/// for ever.
fn slots(plan: &Plan, given: Vec<Inherited>, log: &Log) -> Vec<Slot> {
    let services = plan.services.iter().enumerate();
    let wanted: Vec<_> = services
        .flat_map(|(index, service)| {
            service.listen.iter().map(move |address| (ServiceId(index), address.clone()))
        })
        .collect();
    let sockets: Vec<_> = given.iter().map(Inherited::given).collect();
    let Assignment { listeners, unwanted } = assign(&wanted, &sockets);
    for place in unwanted {
        let message = format!(
            "the service manager passed a socket for {}, which no service listens on; it is closed",
            sockets[place].address
        );
        log.event(Logged::Configuration { level: Level::Warning, message, hint: None });
    }
    let mut given: Vec<_> = given.into_iter().map(Some).collect();
    listeners
        .into_iter()
        .map(|(service, address, place)| {
            let inherited = place.and_then(|place| given[place].take());
            let plan = &plan.services[service.0];
            Slot::new(service, address, plan.unix_socket.clone(), plan.keepalive, inherited)
        })
        .collect()
}
