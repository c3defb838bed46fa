//! Reloads: all or nothing. A thread beside the loop reads the files. New addresses are bound
//! before old ones are closed, unless they overlap. Sessions go on.

use std::fmt::Write;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Supervisor;
use super::event::Event;
use super::hub::Hub;
use super::listeners::Listeners;
use super::reloader::Reloader;
use crate::config::Loaded;
use crate::config::diagnostic::Severity;
use crate::config::error::Error;
use crate::control::protocol::Reply;
use crate::core::capacity::{share_of_total, total_from_descriptors};
use crate::log::event::LogEvent;
use crate::model::exit_code::Exit;
use crate::model::ids::ServiceId;
use crate::model::level::Level;
use crate::model::listen::Address;
use crate::model::plan::{Plan, Service};
use crate::supervisor::manager::Manager;
use crate::sys;
use crate::sys::fault::{self, Says};
use crate::tls::keyring::{Keyring, Read};

#[derive(Debug)]
pub(super) struct Reloads {
    reloader: Reloader,
    running: bool,
    /// Another reload was requested meanwhile. The files may have changed since they were read.
    again: bool,
    /// Requests that the running reload answers. `next` holds those for the reload after it.
    waiting: Vec<oneshot::Sender<Reply>>,
    next: Vec<oneshot::Sender<Reply>>,
}

impl Reloads {
    pub fn new(reloader: Reloader) -> Reloads {
        Reloads { reloader, running: false, again: false, waiting: Vec::new(), next: Vec::new() }
    }

    /// Starts a reload. All requests that arrive during a reload share one more reload.
    pub fn ask(
        &mut self,
        why: &'static str,
        reply: Option<oneshot::Sender<Reply>>,
        hub: &Hub,
        manager: &mut dyn Manager,
    ) {
        self.next.extend(reply);
        if self.running {
            self.again = true;
            return;
        }
        self.running = true;
        self.waiting = std::mem::take(&mut self.next);
        hub.log.event(LogEvent::Reloading { reason: why });
        manager.reloading();
        let (load, sender) = (self.reloader.load.clone(), hub.sender.clone());
        let read = move || {
            sender.send(Event::Loaded(Box::new(load().map(|loaded| {
                let keys = Keyring::read(&loaded.plan);
                (loaded, keys)
            }))));
        };
        let started = fault::point("thread:reload", Says::Processes)
            .and_then(|()| std::thread::Builder::new().name("reload".to_owned()).spawn(read));
        if let Err(cause) = started {
            let error = Error::System { what: "a thread that reads the files", cause };
            hub.sender.send(Event::Loaded(Box::new(Err(error))));
        }
    }

    fn over(&mut self, reply: &Reply, hub: &Hub, manager: &mut dyn Manager) {
        manager.reloaded();
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(reply.clone());
        }
        self.running = false;
        if std::mem::take(&mut self.again) {
            self.ask("asked for meanwhile", None, hub, manager);
        }
    }

    /// The server stops. Dropping the reply channels tells the waiting clients so.
    pub fn give_up(&mut self) {
        self.waiting.clear();
        self.next.clear();
    }
}

struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl Difference {
    fn between(before: &[Arc<Service>], after: &[Arc<Service>]) -> Difference {
        let names = |of: &[Arc<Service>], wanted: &dyn Fn(&Service) -> bool| {
            of.iter().filter(|service| wanted(service)).map(|service| service.name.clone()).collect()
        };
        let find = |of: &[Arc<Service>], name: &str| of.iter().find(|service| service.name == name).cloned();
        Difference {
            added: names(after, &|service| find(before, &service.name).is_none()),
            removed: names(before, &|service| find(after, &service.name).is_none()),
            changed: names(after, &|service| find(before, &service.name).is_some_and(|old| *old != *service)),
        }
    }
}

impl Supervisor {
    pub(super) async fn loaded(&mut self, loaded: Result<(Loaded, Read), Error>, manager: &mut dyn Manager) {
        let reply = match loaded {
            Ok((loaded, keys)) => match self.certificates.lost(&loaded.plan, &keys, &self.services) {
                None => self.apply(loaded, keys).await,
                Some(lost) => self.refuse_reload(&lost, Exit::Config),
            },
            Err(error) => self.refuse_reload(&format!("{error}\n"), error.exit()),
        };
        self.reloads.over(&reply, &self.hub, manager);
        // The new limits may be higher.
        self.accept();
    }

    fn refuse_reload(&self, why: &str, exit: Exit) -> Reply {
        let message = format!("{why}the previous configuration stays in use");
        self.hub.log.event(LogEvent::ReloadFailed { message: message.clone() });
        Reply::Refused { message, exit: exit.code() }
    }

    async fn apply(&mut self, loaded: Loaded, keys: Read) -> Reply {
        let plan = &loaded.plan;
        let before: Vec<_> = self.services.plans().cloned().collect();
        let ids = self.take_services(plan);
        let after: Vec<_> = self.services.plans().cloned().collect();
        self.hub.spawner.forget_accounts();
        self.listeners.change(&wanted(plan, &ids), &self.services, &self.hub).await;
        self.accepting.retain(&self.listeners);
        self.configure_admission(plan, &ids);
        let renewal = self.certificates.renew(keys, &self.services, &self.hub);
        let (warm, mut around) = self.warm();
        warm.renew(&mut around);
        let changes = Difference::between(&before, &after);
        let message = renewal.said + &summary(&loaded, &self.listeners, ids.len(), &changes);
        let exit = if renewal.all_good { Exit::Ok } else { Exit::Config };
        let Difference { added, removed, changed } = changes;
        self.hub.log.event(LogEvent::Reloaded { services: ids.len(), added, removed, changed });
        self.reloads.reloader.look_beside(loaded, self.hub.log.clone());
        Reply::Reloaded { message, exit: exit.code() }
    }

    /// Switches to the services of a plan. Returns their IDs in the order of the plan.
    pub(super) fn take_services(&mut self, plan: &Plan) -> Vec<ServiceId> {
        // Log the refusals now, while removed services still have their names.
        self.refused.tell(&self.services, &self.hub);
        for gone in self.services.forget_ended(&self.admission) {
            self.refused.forget(gone);
        }
        self.server.clone_from(&plan.server);
        self.services.take(plan)
    }

    /// Applies the limits of a plan, as far as the descriptor limit allows.
    pub(super) fn configure_admission(&mut self, plan: &Plan, ids: &[ServiceId]) {
        let of_session = |service: &Arc<Service>| service.descriptors() + sys::child::TREE_DESCRIPTORS;
        let of_warm =
            |service: &Arc<Service>| service.warm.map_or(0, |warm| warm.programs * of_session(service));
        let each = plan.enabled().map(of_session).max().unwrap_or(1);
        let waiting: usize = plan.enabled().map(of_warm).sum();
        let kept = self.listeners.slots.len() + waiting;
        let possible = total_from_descriptors(sys::process::descriptor_limit(), kept, each);
        let most = plan.enabled().map(|service| service.admit.max_connections).max().unwrap_or(0);
        let most = most.max(plan.server.max_connections.unwrap_or(0));
        if possible < most {
            let message = format!("the descriptor limit allows {possible} connections at once");
            let hint = Some("raise it (ulimit -n, LimitNOFILE=)".to_owned());
            self.hub.say(Level::Warning, message, hint);
        }
        let total = plan.server.max_connections.map_or(possible, |most| most.min(possible));
        let limits = ids.iter().zip(plan.enabled()).map(|(&id, service)| {
            let limit = share_of_total(service.admit.max_connections, total, ids.len());
            (id, &service.admit, limit)
        });
        self.admission.configure(total, limits);
    }
}

pub(super) fn wanted(plan: &Plan, ids: &[ServiceId]) -> Vec<(ServiceId, Address)> {
    ids.iter()
        .zip(plan.enabled())
        .flat_map(|(&id, service)| service.listen.iter().map(move |address| (id, address.clone())))
        .collect()
}

fn summary(loaded: &Loaded, listeners: &Listeners, services: usize, changes: &Difference) -> String {
    let mut text = String::new();
    for found in loaded.diagnostics.iter().filter(|found| found.severity == Severity::Warning) {
        let _ = writeln!(text, "{found}");
    }
    for slot in listeners.slots.values() {
        if let Some(fault) = slot.fault() {
            let _ = writeln!(text, "warning: {} has no listener yet: {fault}", slot.address);
        }
    }
    let _ = write!(text, "{services} service{}", if services == 1 { "" } else { "s" });
    let Difference { added, removed, changed } = changes;
    for (what, names) in [("added", added), ("removed", removed), ("changed", changed)] {
        if !names.is_empty() {
            let _ = write!(text, ", {what} {}", names.join(" "));
        }
    }
    if added.is_empty() && removed.is_empty() && changed.is_empty() {
        text.push_str(", none of them changed");
    }
    text
}
