//! Stopping: no new client, then the grace, then whole trees; bounded in time.
//! Or, where sessions are to outlive us, they are let go.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::event::Event;
use super::{EVERY_SECOND, Supervisor};
use crate::control::server::ControlCommand;
use crate::core::ending::EndReason;
use crate::core::stop::StopTimes;
use crate::log::event::LogEvent;
use crate::model::endings::OnStop;
use crate::session::event::{Order, SessionEvent, WarmEvent};
use crate::supervisor::manager::Manager;
use crate::sys;
use crate::sys::stop::Stop;
use crate::sys::{StopRequest, SystemRequest};

impl Supervisor {
    /// No new client at once; then the grace; then whole trees are ended. A
    /// second request skips the grace, a third asks no program any more.
    pub(super) async fn stop(
        mut self,
        request: StopRequest,
        stop: &mut Stop,
        mut commands: mpsc::Receiver<ControlCommand>,
        manager: &mut dyn Manager,
    ) {
        self.listeners.close_all().await;
        self.reloads.give_up();
        self.refused.tell(&self.services, &self.hub);
        let warm = self.services.plans().filter(|service| service.warm.is_some());
        let services = self.sessions.iter().map(|live| &live.session.service).chain(warm);
        let kill_grace = services.map(|service| service.times.kill_grace).max().unwrap_or_default();
        let began = self.hub.began;
        let mut times =
            StopTimes::requested(began.elapsed(), self.server.stop_grace, kill_grace, request.at_most);
        let leaves = self.server.on_stop == OnStop::Leave;
        let grace = times.ask.saturating_sub(began.elapsed());
        self.hub.log.event(LogEvent::Stopping {
            reason: request.why,
            sessions: self.sessions.len(),
            grace_seconds: grace,
        });
        manager.stopping(times.end.saturating_sub(began.elapsed()));
        self.order_end(times, leaves);
        let mut second = tokio::time::interval(EVERY_SECOND);
        while !self.sessions.is_empty() || !self.warm.is_empty() {
            tokio::select! {
                biased;
                request = stop.requested() => {
                    if let SystemRequest::Stop(_) = request {
                        times = times.requested_again(began.elapsed());
                        self.order_end(times, false);
                    }
                }
                // A dropped request hears that the server stops.
                Some(command) = commands.recv() => drop(command),
                Some(event) = self.events.recv() => {
                    match event {
                        Event::Session(said @ SessionEvent::Ended(_)) => self.hear(said),
                        Event::Warm(said @ WarmEvent::Over(..)) => {
                            let (warm, mut around) = self.warm();
                            warm.says(said, &mut around);
                        }
                        _ => {}
                    }
                }
                _ = second.tick() => {
                    sys::child::reap_orphans();
                    manager.stopping(times.end.saturating_sub(began.elapsed()));
                }
                () = tokio::time::sleep_until(began + times.end) => {
                    self.sessions.give_up(&self.hub);
                    break;
                }
            }
        }
        self.hub.spawner.give_up_accounts().await;
        // A client that was refused after its header is counted at its end.
        self.refused.tell(&self.services, &self.hub);
        self.hub.log.event(LogEvent::Stopped);
    }

    /// Ends all sessions at these times. With `leaves` those go on by themselves
    /// that can: a session with pipes needs the server.
    fn order_end(&mut self, times: StopTimes, leaves: bool) {
        let (ask, kill) = (self.hub.began + times.ask, Some(self.hub.began + times.kill));
        for live in self.sessions.iter() {
            let order = if leaves && !live.session.service.has_pipes() {
                Order::Leave { until: ask }
            } else {
                Order::End { ask, kill, why: EndReason::Stop }
            };
            live.order(order);
        }
        // No client comes for those that wait.
        self.warm.end(Order::End { ask: Instant::now(), kill, why: EndReason::Stop });
    }
}
