//! Refused clients: which get a log line of their own, and which are only counted.

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

/// Refused clients that get time to read their text. In a flood, others are closed at once.
const MOST_REFUSED: usize = 32;

#[derive(Debug)]
pub(super) struct Refused {
    counts: RepeatFilter<(ServiceId, &'static str)>,
    told: Instant,
    reading: usize,
}

impl Refused {
    pub fn new() -> Refused {
        Refused { counts: RepeatFilter::new(RECORDS), told: Instant::now(), reading: 0 }
    }

    /// Whether the refusal gets a log line of its own. If not, it is counted.
    pub fn has_line(&mut self, service: ServiceId, reason: &Reason, hub: &Hub) -> bool {
        self.counts.allow((service, reason.kind()), hub.now())
    }

    pub fn are_silent(&self) -> bool {
        self.counts.any_suppressed()
    }

    /// Sends the text and closes the connection. Best effort.
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

    pub fn gone(&mut self) {
        self.reading -= 1;
    }

    pub fn forget(&mut self, service: ServiceId) {
        self.counts.forget(|(other, _)| *other == service);
    }

    pub fn tell_sometimes(&mut self, services: &Services, hub: &Hub) {
        if self.told.elapsed() >= TOLD_EVERY {
            self.tell(services, hub);
        }
    }

    /// Logs how many clients were refused without a log line of their own.
    pub fn tell(&mut self, services: &Services, hub: &Hub) {
        self.told = Instant::now();
        for ((id, reason), count) in self.counts.take_all_suppressed() {
            // A retired service may still refuse clients whose PROXY header comes late.
            let retired =
                || services.retired().iter().find(|(other, _)| *other == id).map(|(_, service)| service);
            if let Some(service) = services.plan(id).or_else(retired) {
                hub.log.event(LogEvent::Refusals { service: service.name.clone(), reason, count });
            }
        }
    }
}
