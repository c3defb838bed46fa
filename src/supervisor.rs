//! The one loop that joins listeners, decisions, sessions and controls. It
//! owns all mutable state; sessions and listeners only send it events.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::plan::Plan;
use crate::core::admission::{Admission, Verdict, total_from_descriptors};
use crate::core::exhaustion::{CALM_AFTER, Exhaustion};
use crate::core::{ServiceId, SessionId};
use crate::error::Error;
use crate::listen::{ListenerId, Slot};
use crate::log::Log;
use crate::log::event::{Event as Logged, Record};
use crate::session::{self, Order, Session};
use crate::spawn::Spawner;
use crate::sys;
use crate::sys::AcceptFault;
use crate::sys::stop::Stop;

/// Clients that are accepted in one go before others get their turn.
const BATCH: usize = 32;

/// While sessions live, what their programs left behind is reaped this often.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// What must end by itself after its end was ordered gets this long; then the
/// server ends without it.
const LAST_RESORT: Duration = Duration::from_secs(5);

/// What listeners, sessions and timers tell the supervisor.
#[derive(Debug)]
pub enum Event {
    /// Clients wait to be accepted.
    ClientsWait(ListenerId),
    /// Try again to bind.
    Rebind(ListenerId),
    /// Try again to accept.
    AcceptAgain,
    /// Accepting has worked for a while.
    Calm,
    /// A session's program is gone, and its last bytes are being delivered.
    Lingers(SessionId),
    /// A session has ended.
    Ended(Box<Record>),
}

/// Serves a plan until it is told to stop.
#[derive(Debug)]
pub struct Supervisor {
    plan: Plan,
    log: Log,
    spawner: Spawner,
    admission: Admission,
    slots: Vec<Slot>,
    sessions: HashMap<SessionId, watch::Sender<Order>>,
    last_session: u64,
    /// Listeners whose clients wait for a session to end.
    waiting: Vec<ListenerId>,
    exhaustion: Exhaustion,
    /// Listeners whose clients wait for descriptors, while nobody is accepted.
    held_back: Option<Vec<ListenerId>>,
    began: Instant,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Supervisor {
    /// Binds all addresses. Must be called within the loop.
    pub fn start(plan: Plan, log: Log) -> Result<Supervisor, Error> {
        let spawner = Spawner::start()
            .map_err(|cause| Error::System { what: "the threads that start programs", cause })?;
        let slots: Vec<Slot> = plan
            .services
            .iter()
            .enumerate()
            .flat_map(|(index, service)| {
                service
                    .listen
                    .iter()
                    .map(move |&address| Slot::new(ServiceId(index), address, service.keepalive))
            })
            .collect();
        let total = total_from_descriptors(sys::process::descriptor_limit(), slots.len());
        let (sender, events) = mpsc::unbounded_channel();
        let mut supervisor = Supervisor {
            admission: Admission::new(total, plan.services.iter().map(|service| service.max_connections)),
            plan,
            log,
            spawner,
            slots,
            sessions: HashMap::new(),
            last_session: 0,
            waiting: Vec::new(),
            exhaustion: Exhaustion::new(),
            held_back: None,
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
    pub async fn run(mut self, stop: &mut Stop) {
        self.log.event(Logged::Ready { addresses: self.addresses(), services: self.plan.services.len() });
        let mut reap = tokio::time::interval(REAP_EVERY);
        reap.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut orphans = false;
        let why = loop {
            tokio::select! {
                biased;
                why = stop.requested() => break why,
                Some(event) = self.events.recv() => self.handle(event),
                _ = reap.tick(), if orphans || !self.sessions.is_empty() => orphans = sys::child::reap_orphans(),
            }
        };
        self.stop(why, stop).await;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ClientsWait(listener) => self.accept(listener),
            Event::Rebind(listener) => self.bind(listener, true),
            Event::AcceptAgain => self.accept_held_back(),
            Event::Calm => {
                if self.exhaustion.is_over(self.began.elapsed()) {
                    self.log.event(Logged::AcceptResumed);
                }
            }
            Event::Lingers(session) => {
                self.admission.lingers(session);
                // Somebody may be waiting for just that.
                self.accept_waiting();
            }
            Event::Ended(record) => {
                self.ended(*record);
                self.accept_held_back();
                self.accept_waiting();
            }
        }
    }

    fn ended(&mut self, record: Record) {
        self.admission.ended(record.session);
        self.sessions.remove(&record.session);
        self.log.event(Logged::Session(Box::new(record)));
    }

    // --- listening ---

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
            let address = self.slots[index].address;
            if let Err(error) = self.try_bind(ListenerId(index)) {
                // A host without IPv6 is as it should be: one line, no retry.
                if sys::net::family_is_missing(&error) && address.ip().is_unspecified() {
                    if !missing_family_said {
                        self.log.event(Logged::FamilyMissing { address });
                    }
                    missing_family_said = true;
                    continue;
                }
                self.bind_later(ListenerId(index), &error);
            }
        }
    }

    fn try_bind(&mut self, id: ListenerId) -> std::io::Result<()> {
        self.slots[id.0].bind(id, self.sender.clone())
    }

    fn bind(&mut self, id: ListenerId, again: bool) {
        match self.try_bind(id) {
            Ok(()) if again => {
                let slot = &self.slots[id.0];
                let service = self.plan.services[slot.service.0].name.clone();
                self.log.event(Logged::ListenRecovered { service, address: slot.address });
            }
            Ok(()) => {}
            Err(error) => self.bind_later(id, &error),
        }
    }

    fn bind_later(&mut self, id: ListenerId, error: &std::io::Error) {
        let slot = &mut self.slots[id.0];
        let retry = slot.backoff.failed();
        self.log.event(Logged::ListenFailed {
            service: self.plan.services[slot.service.0].name.clone(),
            address: slot.address,
            cause: error.to_string(),
            hint: sys::net::bind_hint(error, slot.address),
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

    // --- accepting ---

    /// Accepts the clients that wait at a listener, as far as they may connect.
    fn accept(&mut self, id: ListenerId) {
        if let Some(held_back) = &mut self.held_back {
            held_back.push(id);
            return;
        }
        let service = self.slots[id.0].service;
        for _ in 0..BATCH {
            let Some(listener) = self.slots[id.0].listener().cloned() else { return };
            if let Verdict::Wait { make_room } = self.admission.may_connect(service) {
                if let Some(session) = make_room {
                    self.order(session, Order::EndBy(Instant::now()));
                }
                self.waiting.push(id);
                return;
            }
            let accepted = listener.accept();
            if accepted.is_ok() && self.exhaustion.worked(self.began.elapsed()) {
                self.later(CALM_AFTER, Event::Calm);
            }
            match accepted {
                Ok(Some((socket, peer))) => {
                    let local = socket.local_addr().or_else(|_| listener.local_addr());
                    let local = local.unwrap_or(self.slots[id.0].address);
                    self.begin(service, socket, peer, local);
                }
                Ok(None) => break,
                Err(error) => match sys::net::accept_fault(&error) {
                    AcceptFault::Connection => {}
                    AcceptFault::Exhausted => return self.hold_back(id, &error),
                    AcceptFault::Listener => return self.rebind(id, &error),
                },
            }
        }
        self.slots[id.0].wait_again();
    }

    fn begin(
        &mut self,
        service: ServiceId,
        socket: sys::net::Socket,
        peer: std::net::SocketAddr,
        local: std::net::SocketAddr,
    ) {
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let connections = self.admission.begun(id, service, peer.ip());
        let (orders, order) = watch::channel(Order::Serve);
        self.sessions.insert(id, orders);
        let plan = self.plan.services[service.0].clone();
        let session = Session { id, service: plan, service_id: service, peer, local, connections };
        let (spawner, sender) = (self.spawner.clone(), self.sender.clone());
        tokio::spawn(async move {
            let record = session::serve(session, socket, spawner, order, sender.clone()).await;
            let _ = sender.send(Event::Ended(Box::new(record)));
        });
    }

    fn order(&self, session: SessionId, order: Order) {
        if let Some(orders) = self.sessions.get(&session) {
            let _ = orders.send(order);
        }
    }

    /// Lets in those who wait for a slot.
    fn accept_waiting(&mut self) {
        for listener in std::mem::take(&mut self.waiting) {
            self.accept(listener);
        }
    }

    /// Out of descriptors or memory: nobody is accepted for a moment, so that
    /// the loop does not spin on clients that it can't take.
    fn hold_back(&mut self, id: ListenerId, error: &std::io::Error) {
        let pause = self.exhaustion.ran_out();
        if pause.begins {
            self.log.event(Logged::AcceptPaused { cause: error.to_string() });
        }
        self.held_back = Some(vec![id]);
        self.later(pause.delay, Event::AcceptAgain);
    }

    fn accept_held_back(&mut self) {
        for listener in self.held_back.take().unwrap_or_default() {
            self.accept(listener);
        }
    }

    /// The listener itself is broken: a new one takes its place.
    fn rebind(&mut self, id: ListenerId, error: &std::io::Error) {
        drop(self.slots[id.0].close());
        self.bind_later(id, error);
    }

    // --- stopping ---

    /// No new client at once; then the grace; then whole trees are ended. A
    /// second request skips the grace.
    async fn stop(mut self, why: &'static str, stop: &mut Stop) {
        let closing: Vec<_> = self.slots.iter_mut().filter_map(Slot::close).collect();
        for closed in closing {
            let _ = closed.await;
        }
        let grace = self.plan.stop_grace;
        self.log.event(Logged::Stopping { why, sessions: self.sessions.len(), grace });
        let mut deadline = Instant::now() + grace;
        self.order_all(deadline);
        let mut reap = tokio::time::interval(REAP_EVERY);
        while !self.sessions.is_empty() {
            tokio::select! {
                biased;
                _ = stop.requested() => {
                    deadline = deadline.min(Instant::now());
                    self.order_all(deadline);
                }
                Some(event) = self.events.recv() => {
                    if let Event::Ended(record) = event {
                        self.ended(*record);
                    }
                }
                _ = reap.tick() => {
                    sys::child::reap_orphans();
                }
                () = tokio::time::sleep_until(deadline + LAST_RESORT) => {
                    let message = format!("{} sessions could not be ended", self.sessions.len());
                    self.log.event(Logged::Fault { message });
                    break;
                }
            }
        }
        self.log.event(Logged::Stopped);
    }

    fn order_all(&self, deadline: Instant) {
        for orders in self.sessions.values() {
            let _ = orders.send(Order::EndBy(deadline));
        }
    }
}
