//! Accepting: which listener has its turn, which clients are let in or refused, and when
//! none is accepted.

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

/// Clients that are accepted in one go before other events are handled.
const BATCH: usize = 32;

/// Which listener has its turn, and what accepting waits for.
#[derive(Debug)]
pub(super) struct AcceptQueue {
    /// Listeners that clients may wait at: each gets one client in, then goes to the back.
    queue: VecDeque<ListenerId>,
    /// The loop will come back to accept more.
    more_pending: bool,
    /// When a rate that a client waits for has its next token.
    pub token_at: Option<Instant>,
    exhaustion: Exhaustion,
    /// Out of something: no client is accepted until the timer or a session's end.
    held_back: bool,
    /// A timer for that is running. There is never a second one.
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

    /// Clients wait at a listener.
    pub fn push(&mut self, id: ListenerId) {
        self.queue.push_back(id);
    }

    /// Forgets listeners that are gone.
    pub fn retain(&mut self, listeners: &Listeners) {
        self.queue.retain(|id| listeners.get(*id).is_some());
    }

    /// The batch of clients that was put off may be accepted.
    pub fn more(&mut self) {
        self.more_pending = false;
    }

    /// The pause after the system ran out of something is over.
    pub fn retry(&mut self) {
        self.retry_pending = false;
        self.held_back = false;
    }

    /// A session has ended, and what it had is free.
    pub fn something_is_free(&mut self) {
        self.held_back = false;
    }

    /// Accepting has worked for a while.
    pub fn calm(&mut self, hub: &Hub) {
        if self.exhaustion.is_over(hub.now()) {
            hub.log.event(LogEvent::AcceptResumed);
        }
    }

    /// A rate has a token in so long. The loop waits for the next of them.
    fn retry_accept_in(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.token_at = Some(self.token_at.map_or(at, |other| other.min(at)));
    }

    /// Out of descriptors or memory: no client is accepted for a moment, so that
    /// the loop does not spin on clients that it can't take.
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

/// What came of one listener's turn.
enum AcceptResult {
    /// A client was accepted; more may wait.
    Accepted,
    /// No client waits.
    Empty,
    /// A client may wait, and there is no slot.
    Full,
    /// A client may wait, and is let in after this.
    Later(Duration),
    /// No client can be accepted at any listener for now.
    HeldBack,
}

impl Supervisor {
    /// Lets clients in, one for each listener and turn, so that none of them
    /// waits because another is always quicker.
    pub(super) fn accept(&mut self) {
        // In a flood every event would let a batch in, and a request at the
        // control channel would wait for all of them.
        if self.accepting.more_pending {
            return;
        }
        let mut budget = BATCH;
        // Listeners that could let no client in, in a row.
        let mut full = 0;
        let mut token_in: Option<Duration> = None;
        while full < self.accepting.queue.len() && !self.accepting.held_back {
            if budget == 0 {
                // Sessions get their turn as well.
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
        // A listener that found no slot keeps its turn: the round has come full circle.
        if let Some(wait) = token_in {
            self.accepting.retry_accept_in(wait);
        }
    }

    fn turn(&mut self, id: ListenerId) -> AcceptResult {
        // At a listener that was closed no client waits.
        let Some(slot) = self.listeners.get(id) else { return AcceptResult::Empty };
        let service = slot.service;
        let Some(listener) = slot.listener().cloned() else { return AcceptResult::Empty };
        let now = self.hub.now();
        match self.admission.may_connect(service, now) {
            Connect::Accept => {}
            Connect::WaitFor(wait) => return AcceptResult::Later(wait),
            Connect::Wait => {
                if self.admission.can_evict(service, now) {
                    // A lingering session gives up its last bytes for a client that
                    // is really there, never for one that may come.
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
        // A listener of a service that is gone is gone as well.
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

    /// Closes a connection that gets no program, with a text if the service has one,
    /// and with its record.
    fn refuse(&mut self, session: &Session, socket: Socket, reason: &Reason) {
        self.services.count(session.service_id, Outcome::Refused);
        if self.refused.has_line(session.service_id, reason, &self.hub) {
            let (outcome, reason, seconds) = (Outcome::Refused, Some(reason.to_string()), Duration::ZERO);
            let record = Record { outcome, reason, seconds, ..session.record() };
            self.hub.log.event(LogEvent::session(record));
        }
        // A client that expects TLS would not understand it.
        let service = &session.service;
        if !service.refusal.is_empty() && service.tls.is_none() {
            self.refused.send_text(socket, &service.refusal, &self.hub.sender);
        }
    }
}

/// Whether the server moves or reads bytes of the service's sessions: workers do that.
fn works_beside(plan: &Service) -> bool {
    plan.has_pipes() || plan.has_prelude() || plan.program.stderr == Stderr::Log
}
