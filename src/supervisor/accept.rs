//! Accepting: who is let in, in which order, who is turned away, and when
//! nobody is accepted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Event, Live, Supervisor};
use crate::core::access::is_sender;
use crate::core::admission::{Connect, Stage};
use crate::core::exhaustion::CALM_AFTER;
use crate::core::refusals::Reason;
use crate::listen::ListenerId;
use crate::log::event::{Event as Logged, Outcome};
use crate::model::ids::{ServiceId, SessionId};
use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::{Service, Stderr};
use crate::session::event::{Answer, Instructions, Order};
use crate::session::flow::{Counted, Flow};
use crate::session::{self, Session};
use crate::sys;
use crate::sys::AcceptFault;
use crate::sys::net::Socket;

/// Clients that are accepted in one go before others get their turn.
const BATCH: usize = 32;

/// Clients that are given a word and a second to read it while they are turned
/// away; more at once are closed at once, so that a flood of them takes no
/// descriptors from others.
const MOST_TURNED_AWAY: usize = 32;

/// What came of one listener's turn.
enum Turn {
    /// A client was taken; more may wait.
    Took,
    /// Nobody waits.
    Nobody,
    /// Somebody may wait, and there is no place.
    Full,
    /// Somebody may wait, and is let in after this.
    Later(Duration),
    /// Nothing can be accepted by anybody for now.
    HeldBack,
}

impl Supervisor {
    /// Lets clients in, one for each listener and turn, so that none of them
    /// waits because another is always quicker.
    pub(super) fn accept(&mut self) {
        // In a flood every event would let a batch in, and whoever asks at the
        // control channel would wait for all of them.
        if self.more_pending {
            return;
        }
        let mut budget = BATCH;
        // Listeners that could let nobody in, in a row.
        let mut full = 0;
        let mut token_in: Option<Duration> = None;
        while full < self.turns.len() && !self.held_back {
            if budget == 0 {
                // Sessions get their turn as well.
                if !std::mem::replace(&mut self.more_pending, true) {
                    self.sender.send(Event::AcceptMore);
                }
                return;
            }
            let Some(id) = self.turns.pop_front() else { return };
            match self.turn(id) {
                Turn::Took => {
                    budget -= 1;
                    full = 0;
                    self.turns.push_back(id);
                }
                Turn::Nobody => {
                    if let Some(slot) = self.slots.get(&id) {
                        slot.wait_again();
                    }
                }
                Turn::Full => {
                    full += 1;
                    self.turns.push_back(id);
                }
                Turn::Later(wait) => {
                    full += 1;
                    token_in = Some(token_in.map_or(wait, |other| other.min(wait)));
                    self.turns.push_back(id);
                }
                Turn::HeldBack => self.turns.push_front(id),
            }
        }
        // Whoever found no place keeps its turn: the round has come full circle.
        if let Some(wait) = token_in {
            self.retry_accept_in(wait);
        }
    }

    /// A rate has a token in so long. The loop waits for the next of them.
    fn retry_accept_in(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.token_at = Some(self.token_at.map_or(at, |other| other.min(at)));
    }

    fn turn(&mut self, id: ListenerId) -> Turn {
        // A listener that was closed has nobody waiting.
        let Some(slot) = self.slots.get(&id) else { return Turn::Nobody };
        let service = slot.service;
        let Some(listener) = slot.listener().cloned() else { return Turn::Nobody };
        let now = self.began.elapsed();
        match self.admission.may_connect(service, now) {
            Connect::Accept => {}
            Connect::WaitFor(wait) => return Turn::Later(wait),
            Connect::Wait => {
                if self.admission.can_evict(service, now) {
                    // A lingering session gives up its last bytes for a client that
                    // is really there, never for one that may come.
                    if !listener.has_client() {
                        return Turn::Nobody;
                    }
                    if let Some(session) = self.admission.evict(service, now) {
                        self.evict(session);
                    }
                }
                return Turn::Full;
            }
        }
        let accepted = listener.accept();
        if accepted.is_ok() && self.exhaustion.worked(self.began.elapsed()) {
            self.sender.send_later(CALM_AFTER, Event::Calm);
        }
        match accepted {
            Ok(Some((socket, peer))) => {
                let local = socket.local_addr().or_else(|_| listener.local_addr());
                let local = local.unwrap_or_else(|_| slot.address.clone());
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
                    if let Some(slot) = self.slots.get_mut(&id) {
                        drop(slot.close());
                    }
                    self.bind_later(id, &error);
                    Turn::Nobody
                }
            },
        }
    }

    fn begin(&mut self, service: ServiceId, socket: Socket, peer: Peer, local: Address) {
        // A listener of a service that is gone is gone as well.
        let Some(plan) = self.services.get(&service).map(|served| served.service.clone()) else { return };
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let now = self.began.elapsed();
        let stage = match &plan.proxy_protocol {
            None if plan.tls.is_none() => Ok(Stage::Program(peer)),
            None => Ok(Stage::Handshake(peer)),
            Some(senders) if is_sender(senders, peer) => Ok(Stage::Header),
            Some(_) => Err(Reason::NotASender),
        };
        let ticket = match stage.and_then(|stage| self.admission.admit(id, service, stage, now)) {
            Ok(ticket) => ticket,
            Err(reason) => return self.refuse(id, (service, plan), socket, (peer, local), &reason),
        };
        let flow = Arc::new(Flow::new());
        let counted = match plan.has_pipes() {
            true => Counted::ByUs(flow.clone()),
            false => Counted::BySystem(socket.counter(), flow.clone()),
        };
        let works_beside = plan.has_pipes() || plan.has_prelude() || plan.program.stderr == Stderr::Log;
        let session = Session {
            id,
            service: plan,
            service_id: service,
            peer,
            local,
            connections: ticket.connections(),
            is_probe: ticket.is_probe(),
            process: Arc::default(),
            flow,
            counted,
        };
        let (told, inbox) = watch::channel(Instructions::default());
        let live = Live {
            told,
            ticket,
            session: session.clone(),
            began: Instant::now(),
            client: None,
            refused: None,
        };
        self.sessions.insert(id, live);
        let serve = session::serve(session, socket, self.context(service), inbox);
        if works_beside {
            self.workers.spawn(serve);
        } else {
            tokio::spawn(serve);
        }
    }

    /// A PROXY header has named a client: rules and limits are asked about it.
    pub(super) fn named(&mut self, session: SessionId, client: Peer) {
        let Some(live) = self.sessions.get_mut(&session) else { return };
        let named = self.admission.named(&mut live.ticket, client, self.began.elapsed());
        live.client = Some(client);
        live.refused = named.as_ref().err().cloned();
        live.told.send_modify(|told| told.answer = Some(Answer::Named(named)));
    }

    /// A session's header and handshake are done.
    pub(super) fn passed(&mut self, session: SessionId) {
        let Some(live) = self.sessions.get_mut(&session) else { return };
        let passed = self.admission.passed(&mut live.ticket, self.began.elapsed());
        live.refused = passed.as_ref().err().cloned();
        live.told.send_modify(|told| {
            // Another session gives its slot up for the client that waits.
            told.evicted = false;
            told.answer = Some(Answer::Passed(passed));
        });
    }

    /// Closes a connection that gets no program, with a word if it is to have
    /// one, and with its record.
    fn refuse(
        &mut self,
        id: SessionId,
        (service_id, service): (ServiceId, Arc<Service>),
        socket: Socket,
        (peer, local): (Peer, Address),
        reason: &Reason,
    ) {
        if let Some(served) = self.services.get_mut(&service_id) {
            served.refused += 1;
        }
        if self.refusals.allow((service_id, reason.kind()), self.began.elapsed()) {
            let flow = Arc::new(Flow::new());
            let session = Session {
                id,
                service: service.clone(),
                service_id,
                peer,
                local,
                connections: 0,
                is_probe: false,
                process: Arc::default(),
                flow: flow.clone(),
                counted: Counted::BySystem(socket.counter(), flow),
            };
            let mut record = session.record();
            record.outcome = Outcome::Refused;
            record.reason = Some(reason.to_string());
            self.log.event(Logged::session(record));
        }
        // A client that expects TLS would not understand it.
        if service.refusal.is_empty() || service.tls.is_some() {
            return;
        }
        let _ = socket.send_text(&service.refusal);
        if self.turned_away < MOST_TURNED_AWAY {
            self.turned_away += 1;
            let sender = self.sender.clone();
            tokio::spawn(async move {
                session::refuse(socket).await;
                sender.send(Event::RefusedGone);
            });
        }
    }

    pub(super) fn order(&self, session: SessionId, order: Order) {
        if let Some(live) = self.sessions.get(&session) {
            live.told.send_modify(|told| told.order = order);
        }
    }

    /// Has a session give its slot up to a client that waits.
    fn evict(&self, session: SessionId) {
        if let Some(live) = self.sessions.get(&session) {
            live.told.send_modify(|told| told.evicted = true);
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
            self.sender.send_later(pause.delay, Event::AcceptAgain);
        }
    }
}
