//! The one loop that joins listeners, decisions, sessions and controls. It
//! owns all mutable state; sessions and listeners only send it events.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::plan::Plan;
use crate::core::admission::{Admission, Verdict, share_of_total, total_from_descriptors};
use crate::core::exhaustion::{CALM_AFTER, Exhaustion};
use crate::core::{ServiceId, SessionId};
use crate::error::Error;
use crate::listen::{ListenerId, Slot};
use crate::log::Log;
use crate::log::event::{Event as Logged, Level, Record};
use crate::session::{self, Order, Session};
use crate::spawn::Spawner;
use crate::sys;
use crate::sys::stop::Stop;
use crate::sys::{AcceptFault, Request};

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

/// What came of one listener's turn.
enum Turn {
    /// A client is in; more may wait.
    Took,
    /// Nobody waits.
    Nobody,
    /// Somebody may wait, and there is no slot.
    Full,
    /// Nothing can be accepted by anybody for now.
    HeldBack,
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
        let most = plan.services.iter().map(|service| service.max_connections).max().unwrap_or(0);
        if total < most {
            let message = format!("the descriptor limit leaves room for {total} connections at once");
            let hint = Some("raise it (ulimit -n, LimitNOFILE=)".to_owned());
            log.event(Logged::Configuration { level: Level::Warning, message, hint });
        }
        let count = plan.services.len();
        let limits =
            plan.services.iter().map(|service| share_of_total(service.max_connections, total, count));
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
    pub async fn run(mut self, stop: &mut Stop) {
        self.log.event(Logged::Ready { addresses: self.addresses(), services: self.plan.services.len() });
        let mut reap = tokio::time::interval(REAP_EVERY);
        reap.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut orphans = false;
        let request = loop {
            tokio::select! {
                biased;
                request = stop.requested() => break request,
                Some(event) = self.events.recv() => self.handle(event),
                _ = reap.tick(), if orphans || !self.sessions.is_empty() => orphans = sys::child::reap_orphans(),
            }
        };
        self.stop(request, stop).await;
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
            Event::Rebind(listener) => self.bind(listener, true),
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

    /// Lets clients in, one for each listener and turn, so that none of them
    /// waits because another is always quicker.
    fn accept(&mut self) {
        let mut budget = BATCH;
        // Listeners that were found full in a row.
        let mut full = 0;
        while full < self.turns.len() && !self.held_back {
            if budget == 0 {
                // Sessions get their turn as well.
                let _ = self.sender.send(Event::AcceptMore);
                return;
            }
            let Some(id) = self.turns.pop_front() else { return };
            match self.turn(id) {
                Turn::Took => {
                    budget -= 1;
                    full = 0;
                    self.turns.push_back(id);
                }
                Turn::Nobody => self.slots[id.0].wait_again(),
                Turn::Full => {
                    full += 1;
                    self.turns.push_back(id);
                }
                Turn::HeldBack => self.turns.push_front(id),
            }
        }
        // Whoever found no slot keeps its place: the round has come full circle.
    }

    fn turn(&mut self, id: ListenerId) -> Turn {
        let service = self.slots[id.0].service;
        // A listener that was closed has nobody waiting.
        let Some(listener) = self.slots[id.0].listener().cloned() else { return Turn::Nobody };
        if self.admission.may_connect(service) == Verdict::Wait {
            if self.admission.can_make_room(service) {
                // A lingering session gives up its last bytes for a client that
                // is really there, never for one that may come.
                if !listener.has_client() {
                    return Turn::Nobody;
                }
                if let Some(session) = self.admission.make_room(service) {
                    self.order(session, Order::EndBy(Instant::now()));
                }
            }
            return Turn::Full;
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
                Turn::Took
            }
            Ok(None) => Turn::Nobody,
            Err(error) => match sys::net::accept_fault(&error) {
                AcceptFault::Connection => Turn::Took,
                AcceptFault::Exhausted => {
                    self.hold_back(&error);
                    Turn::HeldBack
                }
                AcceptFault::Listener => {
                    drop(self.slots[id.0].close());
                    self.bind_later(id, &error);
                    Turn::Nobody
                }
            },
        }
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
        let plan = self.plan.services[service.0].clone();
        let session = Session { id, service: plan, service_id: service, peer, local, connections };
        self.sessions.insert(id, Live { orders, session: session.clone() });
        let (spawner, sender) = (self.spawner.clone(), self.sender.clone());
        tokio::spawn(async move {
            let record = session::serve(session, socket, spawner, order, sender.clone()).await;
            let _ = sender.send(Event::Ended(Box::new(record)));
        });
    }

    fn order(&self, session: SessionId, order: Order) {
        if let Some(live) = self.sessions.get(&session) {
            let _ = live.orders.send(order);
        }
    }

    /// Out of descriptors or memory: nobody is accepted for a moment, so that
    /// the loop does not spin on clients that it can't take.
    fn hold_back(&mut self, error: &std::io::Error) {
        let pause = self.exhaustion.ran_out();
        if pause.begins {
            self.log.event(Logged::AcceptPaused { cause: error.to_string() });
        }
        self.held_back = true;
        if !self.retry_pending {
            self.retry_pending = true;
            self.later(pause.delay, Event::AcceptAgain);
        }
    }

    // --- stopping ---

    /// No new client at once; then the grace; then whole trees are ended. A
    /// second request skips the grace.
    async fn stop(mut self, request: Request, stop: &mut Stop) {
        let closing: Vec<_> = self.slots.iter_mut().filter_map(Slot::close).collect();
        for closed in closing {
            let _ = closed.await;
        }
        let grace = request.at_most.map_or(self.plan.stop_grace, |most| most.min(self.plan.stop_grace));
        self.log.event(Logged::Stopping { why: request.why, sessions: self.sessions.len(), grace });
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
                    self.give_up();
                    break;
                }
            }
        }
        self.log.event(Logged::Stopped);
    }

    fn order_all(&self, deadline: Instant) {
        for live in self.sessions.values() {
            let _ = live.orders.send(Order::EndBy(deadline));
        }
    }

    /// Even a session that can't be brought to an end has a record.
    fn give_up(&mut self) {
        for (_, Live { session, .. }) in self.sessions.drain() {
            let mut record = session.record();
            record.reason = Some("could not be ended".to_owned());
            self.log.event(Logged::Session(Box::new(record)));
        }
    }
}
