//! What sessions and programs say of their services: that one fails by itself, works
//! again, or could not be tried.

use std::time::Duration;

use super::{Admission, Ticket};
use crate::core::throttle::{Gate, Throttle};
use crate::model::ids::ServiceId;

impl Admission {
    /// The service has failed by itself in this session. The pause that begins
    /// with it, if one does.
    pub fn failed(&mut self, ticket: &Ticket, cause: &str, now: Duration) -> Option<Duration> {
        self.throttle_of(ticket)?.failed(ticket.session, cause, now)
    }

    /// The service could not be tried in this session: the next one tries it.
    pub fn not_tried(&mut self, ticket: &Ticket, now: Duration) {
        if let Some(throttle) = self.throttle_of(ticket) {
            throttle.not_tried(ticket.session, now);
        }
    }

    /// The service works, as this session shows. True if that ends a pause.
    pub fn worked(&mut self, ticket: &Ticket) -> bool {
        self.throttle_of(ticket).is_some_and(|throttle| throttle.worked(ticket.session))
    }

    pub(super) fn throttle_of(&mut self, ticket: &Ticket) -> Option<&mut Throttle> {
        self.services.get_mut(&ticket.service).map(|entrance| &mut entrance.throttle)
    }

    /// The service has failed by itself in a program that had no client yet. The
    /// pause that begins with it, if one does.
    pub fn failed_alone(&mut self, service: ServiceId, cause: &str, now: Duration) -> Option<Duration> {
        self.services.get_mut(&service)?.throttle.failed_alone(cause, now)
    }

    /// A program of it waits well for its client. True if that ends a pause.
    pub fn works_alone(&mut self, service: ServiceId, now: Duration) -> bool {
        self.services.get_mut(&service).is_some_and(|entrance| entrance.throttle.works_alone(now))
    }

    /// How long no program of this service may be started without a client: a
    /// pause, or a session that tries.
    pub fn may_start_alone(&self, service: ServiceId, now: Duration) -> Result<(), Option<Duration>> {
        match self.services.get(&service).map(|entrance| entrance.throttle.gate(now)) {
            Some(Gate::Open | Gate::Trying) => Ok(()),
            Some(Gate::Closed(rest)) => Err(Some(rest)),
            Some(Gate::Wait) | None => Err(None),
        }
    }
}
