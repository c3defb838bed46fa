//! Clients that were refused: which have a line of their own, and how many were only counted.

use tokio::time::Instant;

use super::event::{Event, Sender};
use super::hub::Hub;
use super::services::Services;
use crate::core::refusals::{RECORDS, Reason, TOLD_EVERY};
use crate::core::repeat_filter::RepeatFilter;
use crate::log::event::LogEvent;
use crate::model::ids::ServiceId;
use crate::session;
use crate::sys::net::Socket;

/// Clients that are given a text and a second to read it while they are refused; more at
/// once are closed at once, so that a flood of them takes no descriptors from others.
const MOST_REFUSED: usize = 32;

/// Clients that were refused.
#[derive(Debug)]
pub(super) struct Refused {
    counts: RepeatFilter<(ServiceId, &'static str)>,
    told: Instant,
    /// Clients that are just being refused with a text.
    reading: usize,
}

impl Refused {
    pub fn new() -> Refused {
        Refused { counts: RepeatFilter::new(RECORDS), told: Instant::now(), reading: 0 }
    }

    /// One more. True if it gets a line; false if it is counted.
    pub fn has_line(&mut self, service: ServiceId, reason: &Reason, hub: &Hub) -> bool {
        self.counts.allow((service, reason.kind()), hub.now())
    }

    /// Whether some are counted that were not told.
    pub fn are_silent(&self) -> bool {
        self.counts.any_suppressed()
    }

    /// Closes a connection with a text. Best effort.
    pub fn send_text(&mut self, socket: Socket, text: &[u8], sender: &Sender) {
        let _ = socket.send_text(text);
        if self.reading < MOST_REFUSED {
            self.reading += 1;
            let sender = sender.clone();
            tokio::spawn(async move {
                session::refuse(socket).await;
                sender.send(Event::RefusedGone);
            });
        }
    }

    /// A client that was refused with a text is gone.
    pub fn gone(&mut self) {
        self.reading -= 1;
    }

    /// A service is gone with all its sessions.
    pub fn forget(&mut self, service: ServiceId) {
        self.counts.forget(|(other, _)| *other == service);
    }

    /// Says now and then how many were refused without a line of their own.
    pub fn tell_sometimes(&mut self, services: &Services, hub: &Hub) {
        if self.told.elapsed() >= TOLD_EVERY {
            self.tell(services, hub);
        }
    }

    /// Says how many were refused without a line of their own.
    pub fn tell(&mut self, services: &Services, hub: &Hub) {
        self.told = Instant::now();
        for ((id, reason), count) in self.counts.take_all_suppressed() {
            // Last clients of a service that is gone may still be refused.
            let retired =
                || services.retired().iter().find(|(other, _)| *other == id).map(|(_, service)| service);
            if let Some(service) = services.plan(id).or_else(retired) {
                hub.log.event(LogEvent::Refusals { service: service.name.clone(), reason, count });
            }
        }
    }
}
