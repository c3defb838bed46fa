//! The live sessions: what the supervisor tells them, and how it handles what they report.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::hub::Hub;
use super::refused::Refused;
use super::services::Services;
use crate::core::admission::{Admission, Ticket};
use crate::core::refusals::Reason;
use crate::log::event::{LogEvent, Record};
use crate::model::ids::{ServiceId, SessionId};
use crate::model::peer::Peer;
use crate::model::plan::Service;
use crate::session::Session;
use crate::session::event::{Inbox, Instructions, Order, ServiceHealth};

#[derive(Debug)]
pub(super) struct Live {
    told: watch::Sender<Instructions>,
    ticket: Ticket,
    /// For the status, the health of its service, and the record if it does not end.
    pub session: Session,
    /// The client that a PROXY header named.
    pub client: Option<Peer>,
    refused: Option<Reason>,
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: HashMap<SessionId, Live>,
    last: u64,
}

impl Live {
    pub fn order(&self, order: Order) {
        self.told.send_modify(|told| told.order = order);
    }
}

impl Sessions {
    pub fn next_id(&mut self) -> SessionId {
        self.last += 1;
        SessionId(self.last)
    }

    pub fn begin(&mut self, session: Session, ticket: Ticket) -> Inbox {
        let (told, inbox) = watch::channel(Instructions::default());
        self.live.insert(session.id, Live { told, ticket, session, client: None, refused: None });
        inbox
    }

    pub fn get(&self, session: SessionId) -> Option<&Live> {
        self.live.get(&session)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Live> {
        self.live.values()
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// A session's service, as it was when the client connected.
    pub fn service(&self, session: SessionId) -> Option<(ServiceId, &Arc<Service>)> {
        self.get(session).map(|live| (live.session.service_id, &live.session.service))
    }

    pub fn evict(&self, session: SessionId) {
        if let Some(live) = self.get(session) {
            live.told.send_modify(|told| told.evicted = true);
        }
    }

    /// A PROXY header has named the client. Checks access rules and limits for it.
    pub fn named(&mut self, session: SessionId, client: Peer, admission: &mut Admission, hub: &Hub) {
        let Some(live) = self.live.get_mut(&session) else { return };
        let named = admission.named(&mut live.ticket, client, hub.now());
        live.client = Some(client);
        live.refused = named.as_ref().err().cloned();
        live.told.send_modify(|told| told.named = Some(named));
    }

    pub fn passed(&mut self, session: SessionId, admission: &mut Admission, hub: &Hub) {
        let Some(live) = self.live.get_mut(&session) else { return };
        let passed = admission.passed(&mut live.ticket, hub.now());
        live.refused = passed.as_ref().err().cloned();
        live.told.send_modify(|told| {
            // The session has left its prelude, so another session must give up its slot.
            told.evicted = false;
            told.passed = Some(passed);
        });
    }

    pub fn judge(&self, session: SessionId, health: ServiceHealth, admission: &mut Admission, hub: &Hub) {
        let now = hub.now();
        let Some(Live { ticket, session, .. }) = self.get(session) else { return };
        let service = || session.service.name.clone();
        let cause = match health {
            ServiceHealth::Works => {
                if admission.worked(ticket) {
                    hub.log.event(LogEvent::ServiceResumed { service: service() });
                }
                return;
            }
            ServiceHealth::Unknown => return admission.not_tried(ticket, now),
            // Many clients at once can exhaust system resources, so the service is not at fault.
            ServiceHealth::FailedOrRanOut(_) if self.len() > 1 => return admission.not_tried(ticket, now),
            ServiceHealth::Failed(cause) | ServiceHealth::FailedOrRanOut(cause) => cause,
        };
        if let Some(pause) = admission.failed(ticket, &cause, now) {
            hub.log.event(LogEvent::ServicePaused { service: service(), cause, pause_seconds: pause });
        }
    }

    pub fn lingers(&self, session: SessionId, admission: &mut Admission) {
        if let Some(live) = self.get(session) {
            admission.lingers(&live.ticket);
        }
    }

    pub fn is_held(&self, session: SessionId, admission: &mut Admission) {
        if let Some(live) = self.get(session) {
            admission.is_held(&live.ticket);
        }
    }

    /// Frees what a session held. This is the only function that does so.
    pub fn ended(
        &mut self,
        record: Record,
        admission: &mut Admission,
        services: &mut Services,
        refused: &mut Refused,
        hub: &Hub,
    ) {
        let Some(live) = self.live.remove(&record.session) else { return };
        let service = live.session.service_id;
        services.count(service, record.outcome);
        admission.ended(live.ticket, hub.now());
        // A client refused after its header gets a log line only within the limit.
        if let Some(reason) = live.refused
            && !refused.has_line(service, &reason, hub)
        {
            return;
        }
        hub.log.event(LogEvent::session(record));
    }

    /// Logs a record for each session that did not end in time.
    pub fn give_up(&mut self, hub: &Hub) {
        for (_, Live { session, .. }) in self.live.drain() {
            let mut record = session.record();
            record.reason = Some("could not be ended".to_owned());
            hub.log.event(LogEvent::session(record));
        }
    }
}
