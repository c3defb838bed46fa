//! Stopping: no new client, then the grace, then whole trees; bounded in time.

use std::time::Duration;

use tokio::time::Instant;

use super::{EVERY_SECOND, Event, Live, Supervisor};
use crate::host::manager::Manager;
use crate::listen::Slot;
use crate::log::event::Event as Logged;
use crate::session::Order;
use crate::sys;
use crate::sys::stop::Stop;
use crate::sys::{Request, StopRequest};

/// What must end by itself after its end was ordered gets this long; then the
/// server ends without it.
pub const LAST_RESORT: Duration = Duration::from_secs(5);

impl Supervisor {
    /// No new client at once; then the grace; then whole trees are ended. A
    /// second request skips the grace.
    pub(super) async fn stop(mut self, request: StopRequest, stop: &mut Stop, manager: &mut dyn Manager) {
        let closing: Vec<_> = self.slots.iter_mut().filter_map(Slot::close).collect();
        for closed in closing {
            let _ = closed.await;
        }
        let grace =
            request.at_most.map_or(self.plan.server.stop_grace, |most| most.min(self.plan.server.stop_grace));
        self.log.event(Logged::Stopping { why: request.why, sessions: self.sessions.len(), grace });
        let mut deadline = Instant::now() + grace;
        manager.stopping(grace + LAST_RESORT);
        self.order_all(deadline);
        let mut second = tokio::time::interval(EVERY_SECOND);
        while !self.sessions.is_empty() {
            tokio::select! {
                biased;
                // Who stops reads nothing again.
                Request::Stop(_) = stop.requested() => {
                    deadline = deadline.min(Instant::now());
                    self.order_all(deadline);
                }
                Some(event) = self.events.recv() => {
                    if let Event::Ended(record) = event {
                        self.ended(*record);
                    }
                }
                _ = second.tick() => {
                    sys::child::reap_orphans();
                    manager.stopping(deadline + LAST_RESORT - Instant::now());
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
