//! The supervisor's loop, which joins listeners, decisions, sessions and the control channel. Its
//! components own all mutable state. Sessions and listeners only send events.

mod accept;
mod answer;
mod certificates;
mod event;
mod hub;
mod listeners;
pub mod manager;
mod refused;
mod relisten;
mod reload;
mod reloader;
mod services;
mod sessions;
mod stop;
mod warm;
mod workers;

pub use reloader::Reloader;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::error::Error;
use crate::control::server::ControlCommand;
use crate::core::admission::Admission;
use crate::listen;
use crate::log::Log;
use crate::log::event::LogEvent;
use crate::model::plan::{self, Plan};
use crate::session::event::{SessionEvent, WarmEvent};
use crate::sys;
use crate::sys::SystemRequest;
use crate::sys::net::Inherited;
use crate::sys::stop::Stop;
use crate::tls::keyring::Keyring;
use accept::AcceptQueue;
use certificates::Certificates;
use event::Event;
use hub::Hub;
use listeners::Listeners;
use manager::Manager;
use refused::Refused;
use reload::Reloads;
use services::Services;
use sessions::Sessions;
use warm::WarmPrograms;

/// How often the loop reaps orphans of programs. Before it is ready, and during a stop, it also
/// reports progress to the service manager.
const EVERY_SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Supervisor {
    server: plan::Server,
    hub: Hub,
    services: Services,
    listeners: Listeners,
    accepting: AcceptQueue,
    admission: Admission,
    refused: Refused,
    sessions: Sessions,
    warm: WarmPrograms,
    certificates: Certificates,
    reloads: Reloads,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Supervisor {
    /// Binds all addresses except those of inherited sockets. Call it within the tokio runtime.
    pub async fn start(
        plan: Plan,
        log: Log,
        inherited: Vec<Inherited>,
        reloader: Reloader,
    ) -> Result<Supervisor, Error> {
        let (hub, events) = Hub::start(log)?;
        let mut this = Supervisor {
            server: plan.server.clone(),
            hub,
            services: Services::default(),
            listeners: Listeners::default(),
            accepting: AcceptQueue::new(),
            admission: Admission::new(0),
            refused: Refused::new(),
            sessions: Sessions::default(),
            warm: WarmPrograms::default(),
            certificates: Certificates::default(),
            reloads: Reloads::new(reloader),
            events,
        };
        let ids = this.take_services(&plan);
        this.listeners.make_slots(&reload::wanted(&plan, &ids), inherited, &this.services, &this.hub);
        this.configure_admission(&plan, &ids);
        // Reading blocks, and no client is served yet.
        this.certificates.renew(Keyring::read(&plan), &this.services, &this.hub);
        this.listeners.bind_all(&this.services, &this.hub).await;
        let (warm, mut around) = this.warm();
        warm.renew(&mut around);
        Ok(this)
    }

    pub fn serves_anything(&self) -> bool {
        self.listeners.serve_anything()
    }

    pub async fn run(
        mut self,
        stop: &mut Stop,
        mut commands: mpsc::Receiver<ControlCommand>,
        manager: &mut dyn Manager,
    ) {
        let patience_ends = Instant::now() + manager.patience();
        let mut ready = false;
        let mut second = tokio::time::interval(EVERY_SECOND);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut orphans = false;
        let request = loop {
            if !ready && (self.listeners.is_complete() || Instant::now() >= patience_ends) {
                ready = true;
                self.say_ready(manager);
            }
            let (token_at, lists_at) = (self.accepting.token_at, self.certificates.lists_at);
            let busy = !ready || orphans || !self.sessions.is_empty() || self.refused.are_silent();
            tokio::select! {
                biased;
                request = stop.requested() => match request {
                    SystemRequest::Stop(request) => break request,
                    SystemRequest::Reload { why } => self.reloads.ask(why, None, &self.hub, manager),
                },
                // Commands come before clients, so that a flood of clients cannot starve them.
                Some(command) = commands.recv() => self.answer(command, manager),
                _ = second.tick(), if busy => {
                    orphans = sys::child::reap_orphans();
                    self.refused.tell_sometimes(&self.services, &self.hub);
                    if !ready {
                        manager.starting();
                    }
                }
                () = tokio::time::sleep_until(token_at.unwrap_or(self.hub.began)), if token_at.is_some() => {
                    self.accepting.token_at = None;
                    self.accept();
                }
                () = tokio::time::sleep_until(lists_at.unwrap_or(self.hub.began)), if lists_at.is_some() => {
                    self.certificates.say_expired_lists(&self.services, &self.hub);
                }
                Some(event) = self.events.recv() => {
                    // Orphans of a program may outlive the last session.
                    orphans |= matches!(event, Event::Session(SessionEvent::Ended(_)) | Event::Warm(WarmEvent::Over(..)));
                    self.route(event, manager).await;
                }
            }
        };
        self.stop(request, stop, commands, manager).await;
    }

    fn say_ready(&self, manager: &mut dyn Manager) {
        let addresses = self.listeners.addresses();
        manager.ready(addresses.len());
        self.hub.log.event(LogEvent::Ready { services: self.services.len(), listen: addresses });
    }

    /// Passes an event to its component. Then accepts clients if the event may have unblocked some.
    async fn route(&mut self, event: Event, manager: &mut dyn Manager) {
        match event {
            Event::Listener(listen::ListenEvent::ClientsWait(listener)) => self.accepting.push(listener),
            Event::AcceptMore => {
                self.accepting.more();
                // A flood must not keep the loop from its other tasks.
                tokio::task::yield_now().await;
            }
            Event::AcceptAgain => self.accepting.retry(),
            Event::Session(said) => self.hear(said),
            Event::Warm(said) => {
                let (warm, mut around) = self.warm();
                if !warm.says(said, &mut around) {
                    return;
                }
            }
            Event::Loaded(loaded) => return self.loaded(*loaded, manager).await,
            Event::Rebind(listener) => {
                return self.listeners.bind_again(listener, &self.services, &self.hub).await;
            }
            Event::Calm => return self.accepting.calm(&self.hub),
            Event::WantsProgram(session, request) => {
                let (warm, mut around) = self.warm();
                return warm.give(session, request, &mut around);
            }
            Event::FillAgain(service) => {
                let (warm, mut around) = self.warm();
                return warm.fill_again(service, &mut around);
            }
            Event::RefusedGone => return self.refused.gone(),
            Event::ReadKeys => return self.certificates.read_again(&self.services, &self.hub),
            Event::KeysRead(keys) => return self.certificates.were_read(keys, &self.services, &self.hub),
        }
        self.accept();
    }

    fn hear(&mut self, said: SessionEvent) {
        let Supervisor { sessions, services, admission, refused, hub, .. } = self;
        match said {
            SessionEvent::Named(session, client) => sessions.named(session, client, admission, hub),
            SessionEvent::Passed(session) => sessions.passed(session, admission, hub),
            SessionEvent::Health(session, health) => {
                sessions.judge(session, health, admission, hub);
                let (warm, mut around) = self.warm();
                warm.fill_all(&mut around);
            }
            SessionEvent::Lingers(session) => sessions.lingers(session, admission),
            SessionEvent::IsHeld(session) => sessions.is_held(session, admission),
            SessionEvent::Ended(record) => {
                sessions.ended(*record, admission, services, refused, hub);
                self.accepting.something_is_free();
            }
        }
    }

    fn warm(&mut self) -> (&mut WarmPrograms, warm::Around<'_>) {
        let Supervisor { warm, sessions, services, certificates, admission, hub, .. } = self;
        (warm, warm::Around { sessions, services, certificates, admission, hub })
    }
}
