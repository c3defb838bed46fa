//! Records what sessions and programs show about their services: failure, recovery, or neither.

use std::time::Duration;

use super::{Admission, Ticket};
use crate::core::throttle::{Gate, Throttle};
use crate::model::ids::ServiceId;

impl Admission {
    /// Returns the pause that begins, if one does.
    pub fn failed(&mut self, ticket: &Ticket, cause: &str, now: Duration) -> Option<Duration> {
        self.throttle_of(ticket)?.failed(ticket.session, cause, now)
    }

    /// The next session becomes the probe.
    pub fn not_tried(&mut self, ticket: &Ticket, now: Duration) {
        if let Some(throttle) = self.throttle_of(ticket) {
            throttle.not_tried(ticket.session, now);
        }
    }

    /// Returns true if that ends a pause.
    pub fn worked(&mut self, ticket: &Ticket) -> bool {
        self.throttle_of(ticket).is_some_and(|throttle| throttle.worked(ticket.session))
    }

    pub(super) fn throttle_of(&mut self, ticket: &Ticket) -> Option<&mut Throttle> {
        self.services.get_mut(&ticket.service).map(|entrance| &mut entrance.throttle)
    }

    /// A warm program failed. Returns the pause that begins, if one does.
    pub fn failed_alone(&mut self, service: ServiceId, cause: &str, now: Duration) -> Option<Duration> {
        self.services.get_mut(&service)?.throttle.failed_alone(cause, now)
    }

    /// A warm program works. Returns true if that ends a pause.
    pub fn works_alone(&mut self, service: ServiceId, now: Duration) -> bool {
        self.services.get_mut(&service).is_some_and(|entrance| entrance.throttle.works_alone(now))
    }

    /// The error holds the rest of a pause, or `None` while a probe runs.
    pub fn may_start_alone(&self, service: ServiceId, now: Duration) -> Result<(), Option<Duration>> {
        match self.services.get(&service).map(|entrance| entrance.throttle.gate(now)) {
            Some(Gate::Open | Gate::Trying) => Ok(()),
            Some(Gate::Closed(rest)) => Err(Some(rest)),
            Some(Gate::Wait) | None => Err(None),
        }
    }
}
