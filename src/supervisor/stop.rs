//! Stopping the server in bounded time: no new clients, then the grace period, then whole trees are
//! killed. Sessions that may outlive the server go on.

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
    /// Refuses new clients at once, waits for the grace period, then kills whole trees. A second
    /// request skips the grace period. After a third one programs are killed without being asked.
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
                // Dropping the command tells the client that the server is stopping.
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
        sys::child::remove_free_trees();
        // Clients that were refused after their header are counted only when their session ends.
        self.refused.tell(&self.services, &self.hub);
        self.hub.log.event(LogEvent::Stopped);
    }

    /// Ends all sessions at these times. If `leaves` is set, sessions without pipes go on without
    /// the server. A session with pipes needs it.
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
        self.warm.end(Order::End { ask: Instant::now(), kill, why: EndReason::Stop });
    }
}
