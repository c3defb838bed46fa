//! Answers to requests at the control channel.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Supervisor;
use super::sessions::Live;
use crate::control::protocol::{self, Explanation, Reply, Request, ServiceState, Status};
use crate::control::server::ControlCommand;
use crate::core::ending::EndReason;
use crate::core::explain::{Verdict, behind_proxy, explain};
use crate::model::ids::{ServiceId, SessionId};
use crate::model::peer::Peer;
use crate::model::plan::Service;
use crate::session::event::Order;
use crate::session::flow::Counted;
use crate::supervisor::manager::Manager;
use crate::sys;

/// How long a status waits for the byte counts of connections.
const COUNTED_WITHIN: Duration = Duration::from_millis(300);

impl Supervisor {
    pub(super) fn answer(&mut self, command: ControlCommand, manager: &mut dyn Manager) {
        let ControlCommand { request, reply } = command;
        let answer = match request {
            Request::Reload => {
                return self.reloads.ask("--reload", Some(reply), &self.hub, manager);
            }
            Request::Status => return self.tell_status(reply),
            Request::Kill { session } => self.kill(SessionId(session)),
            Request::Explain { address, service } => self.explain(address, service.as_deref()),
        };
        let _ = reply.send(answer);
    }

    fn kill(&mut self, session: SessionId) -> Reply {
        let Some(live) = self.sessions.get(session) else { return Reply::no_such_session(session.0) };
        live.order(Order::ask_now(EndReason::Killed));
        Reply::Killed
    }

    fn explain(&self, address: IpAddr, name: Option<&str>) -> Reply {
        let peer = Peer::Inet((address.to_canonical(), 0).into());
        let now = self.hub.now();
        let asked =
            self.services.iter().filter(|(_, served)| name.is_none_or(|name| served.service.name == name));
        let said: Vec<_> = asked
            .map(|(id, served)| {
                let (verdict, because) = match self.certificates.fault_of(&served.service) {
                    Some(fault) => (Verdict::Refuse, fault),
                    None => explain(&self.admission, id, peer, now),
                };
                let because = behind_proxy(because, &served.service, peer);
                Explanation { service: served.service.name.clone(), verdict, because }
            })
            .collect();
        match name {
            Some(name) if said.is_empty() => Reply::no_such_service(name),
            _ => Reply::Explained(said),
        }
    }

    /// Sends the status. A connection that does not report its byte counts in time, because its
    /// program blocks it, is listed with its last known counts.
    fn tell_status(&self, reply: oneshot::Sender<Reply>) {
        let mut status = self.status();
        let (done, mut all_done) = mpsc::channel::<()>(1);
        let mut counted: HashMap<u64, Counted> = HashMap::new();
        for Live { session, .. } in self.sessions.iter() {
            session.counted.ask_beside(&self.hub.looks, session.owner(), done.clone());
            counted.insert(session.id.0, session.counted.clone());
        }
        drop(done);
        tokio::spawn(async move {
            let _ = timeout(COUNTED_WITHIN, all_done.recv()).await;
            for session in status.services.iter_mut().flat_map(|service| &mut service.sessions) {
                let counts = counted.get(&session.id).and_then(Counted::known);
                session.bytes_in = counts.map(|counts| counts.received);
                session.bytes_out = counts.map(|counts| counts.acknowledged);
            }
            let _ = reply.send(Reply::Status(status));
        });
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: seconds(self.hub.now()),
            stuck_processes: sys::child::stuck() as u64,
            services: self
                .services
                .in_order()
                .iter()
                .map(|service| self.status_of(service))
                .chain(self.gone())
                .collect(),
        }
    }

    fn status_of(&self, service: &Service) -> protocol::ServiceStatus {
        let Some((id, served)) = self.services.named(&service.name) else {
            return self.without_listeners(service, None);
        };
        let (state, reason) = self.state_of(id, service);
        let slots = self.listeners.of(id);
        let listen =
            slots.filter_map(|slot| slot.listener()?.local_addr().ok()).map(|address| address.to_string());
        protocol::ServiceStatus {
            name: service.name.clone(),
            state,
            reason,
            listen: listen.collect(),
            live: self.admission.live_of(id) as u64,
            warm: service.warm.map(|_| self.warm.waiting(id) as u64),
            served: served.served,
            refused: served.refused,
            failed: served.failed,
            sessions: self.sessions_of(&service.name),
        }
    }

    /// Services that a reload removed and that still have sessions.
    fn gone(&self) -> impl Iterator<Item = protocol::ServiceStatus> {
        let named =
            |service: &Service| self.services.in_order().iter().any(|other| other.name == service.name);
        let gone = self.services.retired().iter().filter(move |(_, service)| !named(service));
        let gone = gone.map(|(_, service)| {
            self.without_listeners(
                service,
                Some("it is no longer in the file; its sessions continue".to_owned()),
            )
        });
        gone.filter(|service| service.live > 0)
    }

    fn without_listeners(&self, service: &Service, reason: Option<String>) -> protocol::ServiceStatus {
        let sessions = self.sessions_of(&service.name);
        protocol::ServiceStatus {
            name: service.name.clone(),
            state: ServiceState::Disabled,
            reason,
            listen: Vec::new(),
            live: sessions.len() as u64,
            warm: None,
            served: 0,
            refused: 0,
            failed: 0,
            sessions,
        }
    }

    fn sessions_of(&self, name: &str) -> Vec<protocol::SessionStatus> {
        let mut sessions: Vec<_> = self
            .sessions
            .iter()
            .filter(|live| live.session.service.name == name)
            .map(|Live { session, client, .. }| protocol::SessionStatus {
                id: session.id.0,
                client: client.unwrap_or(session.peer).to_string(),
                pid: session.process.running(),
                seconds: seconds(session.began.elapsed()),
                bytes_in: None,
                bytes_out: None,
            })
            .collect();
        sessions.sort_unstable_by_key(|session| session.id);
        sessions
    }

    fn state_of(&self, id: ServiceId, service: &Service) -> (ServiceState, Option<String>) {
        if let Some(fault) = self.certificates.fault_of(service) {
            return (ServiceState::Paused, Some(fault));
        }
        if let Some((cause, rest)) = self.admission.pause_of(id, self.hub.now()) {
            let when = match rest {
                Duration::ZERO => "the next client tries it".to_owned(),
                rest => format!("tried again in {} s", rest.as_secs_f64().ceil()),
            };
            return (ServiceState::Paused, Some(format!("{cause}; {when}")));
        }
        let mut slots = self.listeners.of(id);
        let fault = slots.find_map(|slot| Some(format!("{}: {}", slot.address, slot.fault()?)));
        match fault {
            Some(fault) => (ServiceState::Retrying, Some(fault)),
            None => (ServiceState::Listening, None),
        }
    }
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
