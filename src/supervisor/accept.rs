//! Accepting: who is let in, in which order, and when nobody is.

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Event, Live, Supervisor};
use crate::config::plan::Address;
use crate::core::admission::Verdict;
use crate::core::exhaustion::CALM_AFTER;
use crate::core::{Peer, ServiceId, SessionId};
use crate::listen::ListenerId;
use crate::log::event::Event as Logged;
use crate::session::{self, Order, Session};
use crate::sys;
use crate::sys::AcceptFault;
use crate::sys::net::Socket;

/// Clients that are accepted in one go before others get their turn.
const BATCH: usize = 32;

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

impl Supervisor {
    /// Lets clients in, one for each listener and turn, so that none of them
    /// waits because another is always quicker.
    pub(super) fn accept(&mut self) {
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
                let local = local.unwrap_or_else(|_| self.slots[id.0].address.clone());
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

    fn begin(&mut self, service: ServiceId, socket: Socket, peer: Peer, local: Address) {
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let connections = self.admission.begun(id, service, peer.source());
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
}
