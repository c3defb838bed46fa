//! Accepting clients: which listener is next, which clients the server accepts or refuses, and when
//! it pauses.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use super::event::Event;
use super::hub::Hub;
use super::listeners::Listeners;
use crate::core::access::is_sender;
use crate::core::admission::{Connect, Stage};
use crate::core::exhaustion::{CALM_AFTER, Exhaustion};
use crate::core::refusals::Reason;
use crate::listen::ListenerId;
use crate::log::event::{LogEvent, Outcome, Record};
use crate::model::ids::ServiceId;
use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::{Service, Stderr};
use crate::session::flow::{Counted, Flow};
use crate::session::{self, Session};
use crate::sys;
use crate::sys::AcceptFault;
use crate::sys::net::Socket;

/// The number of clients to accept before the loop handles other events.
const BATCH: usize = 32;

#[derive(Debug)]
pub(super) struct AcceptQueue {
    /// Listeners that may have waiting clients. Each accepts one client, then goes to the back.
    queue: VecDeque<ListenerId>,
    /// `Event::AcceptMore` is in the queue.
    more_pending: bool,
    /// When a client that waits can be asked about again: a rate limit has a token, or a slow
    /// prelude gives its slot up.
    pub token_at: Option<Instant>,
    exhaustion: Exhaustion,
    /// Resources are exhausted: no accept until the timer fires or a session ends.
    held_back: bool,
    /// That timer is running. There is never a second one.
    retry_pending: bool,
}

impl AcceptQueue {
    pub fn new() -> AcceptQueue {
        AcceptQueue {
            queue: VecDeque::new(),
            more_pending: false,
            token_at: None,
            exhaustion: Exhaustion::new(),
            held_back: false,
            retry_pending: false,
        }
    }

    pub fn push(&mut self, id: ListenerId) {
        self.queue.push_back(id);
    }

    pub fn retain(&mut self, listeners: &Listeners) {
        self.queue.retain(|id| listeners.get(*id).is_some());
    }

    pub fn more(&mut self) {
        self.more_pending = false;
    }

    pub fn retry(&mut self) {
        self.retry_pending = false;
        self.held_back = false;
    }

    pub fn something_is_free(&mut self) {
        self.held_back = false;
    }

    pub fn calm(&mut self, hub: &Hub) {
        if self.exhaustion.is_over(hub.now()) {
            hub.log.event(LogEvent::AcceptResumed);
        }
    }

    /// Something that a client waits for is there after `wait`. The loop wakes for the earliest.
    fn retry_accept_in(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.token_at = Some(self.token_at.map_or(at, |other| other.min(at)));
    }

    /// Pauses accepting. Otherwise the loop would spin while the system is out of resources.
    fn hold_back(&mut self, error: &std::io::Error, hub: &Hub) {
        let pause = self.exhaustion.ran_out();
        if pause.begins {
            hub.log.event(LogEvent::AcceptPaused { cause: error.to_string() });
        }
        self.held_back = true;
        if !self.retry_pending {
            self.retry_pending = true;
            hub.sender.send_later(pause.delay, Event::AcceptAgain);
        }
    }
}

enum AcceptResult {
    Accepted,
    Empty,
    Full,
    /// A client may wait. The question is worth asking again after this time.
    Later(Duration),
    HeldBack,
}

impl Supervisor {
    /// Accepts round robin, so that a busy listener cannot starve others.
    pub(super) fn accept(&mut self) {
        // In a flood every event would accept a batch, and control requests would wait.
        if self.accepting.more_pending {
            return;
        }
        let mut budget = BATCH;
        let mut full = 0;
        let mut token_in: Option<Duration> = None;
        while full < self.accepting.queue.len() && !self.accepting.held_back {
            if budget == 0 {
                if !std::mem::replace(&mut self.accepting.more_pending, true) {
                    self.hub.sender.send(Event::AcceptMore);
                }
                return;
            }
            let Some(id) = self.accepting.queue.pop_front() else { return };
            match self.turn(id) {
                AcceptResult::Accepted => {
                    budget -= 1;
                    full = 0;
                    self.accepting.queue.push_back(id);
                }
                AcceptResult::Empty => {
                    if let Some(slot) = self.listeners.get(id) {
                        slot.wait_again();
                    }
                }
                AcceptResult::Full => {
                    full += 1;
                    self.accepting.queue.push_back(id);
                }
                AcceptResult::Later(wait) => {
                    full += 1;
                    token_in = Some(token_in.map_or(wait, |other| other.min(wait)));
                    self.accepting.queue.push_back(id);
                }
                AcceptResult::HeldBack => self.accepting.queue.push_front(id),
            }
        }
        // A full round leaves the queue in its old order, so each listener keeps its position.
        if let Some(wait) = token_in {
            self.accepting.retry_accept_in(wait);
        }
    }

    fn turn(&mut self, id: ListenerId) -> AcceptResult {
        let Some(slot) = self.listeners.get(id) else { return AcceptResult::Empty };
        let service = slot.service;
        let Some(listener) = slot.listener().cloned() else { return AcceptResult::Empty };
        let now = self.hub.now();
        match self.admission.may_connect(service, now) {
            Connect::Accept => {}
            Connect::WaitFor(wait) => return AcceptResult::Later(wait),
            Connect::Wait => {
                if self.admission.can_evict(service, now) {
                    // Evict only for a client that waits: eviction may cost that session its last
                    // bytes.
                    if !listener.has_client() {
                        return AcceptResult::Empty;
                    }
                    if let Some(session) = self.admission.evict(service, now) {
                        self.sessions.evict(session);
                    }
                }
                return AcceptResult::Full;
            }
        }
        let accepted = listener.accept();
        if accepted.is_ok() && self.accepting.exhaustion.worked(self.hub.now()) {
            self.hub.sender.send_later(CALM_AFTER, Event::Calm);
        }
        match accepted {
            Ok(Some((socket, peer))) => {
                let local = socket.local_addr().or_else(|_| listener.local_addr());
                let local = local.unwrap_or_else(|_| slot.address.clone());
                self.begin(service, socket, peer, local);
                AcceptResult::Accepted
            }
            Ok(None) => AcceptResult::Empty,
            Err(error) => match sys::net::accept_fault(&error) {
                AcceptFault::Connection => AcceptResult::Accepted,
                AcceptFault::Exhausted => {
                    self.accepting.hold_back(&error, &self.hub);
                    AcceptResult::HeldBack
                }
                AcceptFault::Listener => {
                    self.listeners.broke(id, &error, &self.services, &self.hub);
                    AcceptResult::Empty
                }
            },
        }
    }

    fn begin(&mut self, service: ServiceId, socket: Socket, peer: Peer, local: Address) {
        let Some(plan) = self.services.plan(service).cloned() else { return };
        let id = self.sessions.next_id();
        let flow = Arc::new(Flow::new());
        let counted = match plan.has_pipes() {
            true => Counted::ByUs(flow.clone()),
            false => Counted::BySystem(socket.counter(), flow.clone()),
        };
        let mut session = Session {
            id,
            service: plan.clone(),
            service_id: service,
            peer,
            local,
            began: Instant::now(),
            connections: 0,
            is_probe: false,
            process: Arc::default(),
            flow,
            counted,
        };
        let stage = match &plan.proxy_protocol {
            None if plan.tls.is_none() => Ok(Stage::Program(peer)),
            None => Ok(Stage::Handshake(peer)),
            Some(senders) if is_sender(senders, peer) => Ok(Stage::Header),
            Some(_) => Err(Reason::NotASender),
        };
        let now = self.hub.now();
        let ticket = match stage.and_then(|stage| self.admission.admit(id, service, stage, now)) {
            Ok(ticket) => ticket,
            Err(reason) => return self.refuse(&session, socket, &reason),
        };
        (session.connections, session.is_probe) = (ticket.connections(), ticket.is_probe());
        let inbox = self.sessions.begin(session.clone(), ticket);
        let context = self.hub.context(service, &self.services, &self.certificates);
        let serve = session::serve(session, socket, context, inbox);
        if works_beside(&plan) {
            self.hub.workers.spawn(serve);
        } else {
            tokio::spawn(serve);
        }
    }

    /// Records and closes a refused connection. Sends the refusal text, if the service has one.
    fn refuse(&mut self, session: &Session, socket: Socket, reason: &Reason) {
        self.services.count(session.service_id, Outcome::Refused);
        if self.refused.has_line(session.service_id, reason, &self.hub) {
            let (outcome, reason, seconds) = (Outcome::Refused, Some(reason.to_string()), Duration::ZERO);
            let record = Record { outcome, reason, seconds, ..session.record() };
            self.hub.log.event(LogEvent::session(record));
        }
        // A client that expects TLS cannot read plain text.
        let service = &session.service;
        if !service.refusal.is_empty() && service.tls.is_none() {
            self.refused.send_text(socket, &service.refusal, &self.hub.sender);
        }
    }
}

/// Whether the session runs on a worker, because the server moves or reads its bytes.
fn works_beside(plan: &Service) -> bool {
    plan.has_pipes() || plan.has_prelude() || plan.program.stderr == Stderr::Log
}
