//! Reading the files again: all or nothing. The text is read beside the loop;
//! what is new is bound before anything old is touched; sessions go on.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::listeners::named_as_wanted;
use super::{Event, Supervisor};
use crate::config::Loaded;
use crate::config::diagnostic::Severity;
use crate::config::error::Error;
use crate::control::protocol::Reply;
use crate::core::inherited::{Assignment, Given, assign};
use crate::core::reload::changes;
use crate::listen::{ListenerId, Slot};
use crate::log::Log;
use crate::log::event::Event as Logged;
use crate::model::exit_code::Exit;
use crate::model::ids::ServiceId;
use crate::model::level::Level;
use crate::model::listen::Address;
use crate::model::plan::Service;
use crate::supervisor::manager::Manager;
use crate::sys::fault::{self, Says};
use crate::tls::keyring::{Keyring, Read as Keys};

/// Work on files that were read, on a thread that it may block.
pub type Work = Arc<dyn Fn(&Loaded, &Log) + Send + Sync>;

/// How the files are read, and what is done beside once they are.
#[derive(Clone)]
pub struct Reloader {
    /// Reads them. May block.
    pub load: Arc<dyn Fn() -> Result<Loaded, Error> + Send + Sync>,
    /// Says what there is to say of their text, and opens the log's file anew. May
    /// block.
    pub follow: Work,
    /// Looks at the world that they are about. May block.
    pub look: Work,
    /// What is still to be looked at.
    pub looking: Arc<Turns<Loaded>>,
}

/// Work that is done by one thread at a time. What comes meanwhile is done by that
/// one afterwards, and only the last of it: nothing piles up behind one that hangs.
#[derive(Debug)]
pub struct Turns<T>(Mutex<Turn<T>>);

#[derive(Debug)]
struct Turn<T> {
    running: bool,
    next: Option<T>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns(Mutex::new(Turn { running: false, next: None }))
    }
}

impl<T> Turns<T> {
    /// Works on this, now or once whoever works on another is done with that.
    pub fn take(&self, what: T, mut work: impl FnMut(T)) {
        let mut what = Some(what);
        {
            let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turn.running {
                turn.next = what;
                return;
            }
            turn.running = true;
        }
        while let Some(now) = what {
            work(now);
            let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            what = turn.next.take();
            turn.running = what.is_some();
        }
    }
}

impl Reloader {
    /// Looks at the world on a thread of its own: a user database that does not
    /// answer must not keep the ports closed. While one thread looks, others only
    /// leave to it what they have.
    pub fn look_beside(&self, loaded: Loaded, log: Log) {
        let (all, own) = (self.clone(), log.clone());
        let work = move || {
            (all.follow)(&loaded, &log);
            all.looking.take(loaded, |loaded| (all.look)(&loaded, &log));
        };
        let started = fault::point("thread:world", Says::Processes)
            .and_then(|()| std::thread::Builder::new().name("world".to_owned()).spawn(work));
        if let Err(cause) = started {
            // A log file that was moved away would be written on in silence.
            let message = format!(
                "accounts and programs were not looked at, nor was the log's file opened anew: a thread for it: {cause}"
            );
            let hint = Some("reload once the system has threads to give".to_owned());
            own.event(Logged::Configuration { level: Level::Warning, message, hint });
        }
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Reloader")
    }
}

/// A reload under way.
#[derive(Debug, Default)]
pub(super) struct Reload {
    running: bool,
    /// One more was asked for meanwhile: the files may have changed since they
    /// were read.
    again: bool,
    /// Who waits for what comes of the one that runs, and of the one after it.
    waiting: Vec<oneshot::Sender<Reply>>,
    next: Vec<oneshot::Sender<Reply>>,
}

/// Names of services that a reload concerns.
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
            changed: names(after, &|service| {
                find(before, &service.name).is_some_and(|old| !old.says_the_same(service))
            }),
        }
    }
}

/// See [`Supervisor::given_listeners`].
type GivenListeners = (Vec<(ListenerId, ServiceId)>, Vec<ListenerId>, Vec<(ServiceId, Address)>);

impl Supervisor {
    /// Reads the files again. Requests that come while one is read are one
    /// more reload together.
    pub(super) fn reload(
        &mut self,
        why: &'static str,
        reply: Option<oneshot::Sender<Reply>>,
        manager: &mut dyn Manager,
    ) {
        self.reload.next.extend(reply);
        if self.reload.running {
            self.reload.again = true;
            return;
        }
        self.reload.running = true;
        self.reload.waiting = std::mem::take(&mut self.reload.next);
        self.log.event(Logged::Reloading { reason: why });
        manager.reloading();
        let (load, sender) = (self.reloader.load.clone(), self.sender.clone());
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
            self.sender.send(Event::Loaded(Box::new(Err(error))));
        }
    }

    /// The files were read.
    pub(super) async fn loaded(&mut self, loaded: Result<(Loaded, Keys), Error>, manager: &mut dyn Manager) {
        let reply = match loaded {
            Ok((loaded, keys)) => match self.lost_keys(&loaded.plan, &keys) {
                None => self.apply(loaded, keys).await,
                Some(lost) => self.refuse_reload(&lost, Exit::Config),
            },
            Err(error) => self.refuse_reload(&format!("{error}\n"), error.exit()),
        };
        manager.reloaded();
        for waiting in self.reload.waiting.drain(..) {
            let _ = waiting.send(reply.clone());
        }
        self.reload.running = false;
        if std::mem::take(&mut self.reload.again) {
            self.reload("asked for meanwhile", None, manager);
        }
        // Limits may have grown.
        self.accept();
    }

    fn refuse_reload(&self, why: &str, exit: Exit) -> Reply {
        let message = format!("{why}the configuration of before stays");
        self.log.event(Logged::ReloadFailed { message: message.clone() });
        Reply::Refused { message, exit: exit.code() }
    }

    /// Serves another plan from now on. Says what changed.
    async fn apply(&mut self, loaded: Loaded, keys: Keys) -> Reply {
        let plan = &loaded.plan;
        let before = self.present();
        let ids = self.take_services(plan);
        let after = self.present();
        self.spawner.forget_accounts();
        let wanted: Vec<(ServiceId, Address)> = ids
            .iter()
            .zip(plan.enabled())
            .flat_map(|(&id, service)| service.listen.iter().map(move |address| (id, address.clone())))
            .collect();
        self.change_listeners(&wanted).await;
        self.configure_admission(plan, &ids);
        let certificates = self.renew_keys(keys);
        self.renew_warm();
        let changes = Difference::between(&before, &after);
        let message = certificates.said + &self.summary(&loaded, &changes);
        let exit = if certificates.all_good { Exit::Ok } else { Exit::Config };
        let Difference { added, removed, changed } = changes;
        self.log.event(Logged::Reloaded { services: ids.len(), added, removed, changed });
        self.reloader.look_beside(loaded, self.log.clone());
        Reply::Reloaded { message, exit: exit.code() }
    }

    fn present(&self) -> Vec<Arc<Service>> {
        self.services.values().map(|served| served.service.clone()).collect()
    }

    fn summary(&self, loaded: &Loaded, changes: &Difference) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        for found in loaded.diagnostics.iter().filter(|found| found.severity == Severity::Warning) {
            let _ = writeln!(text, "{found}");
        }
        for slot in self.slots.values() {
            if let Some(fault) = slot.fault() {
                let _ = writeln!(text, "warning: {} is not listened on yet: {fault}", slot.address);
            }
        }
        let services = self.services.len();
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

    async fn change_listeners(&mut self, wanted: &[(ServiceId, Address)]) {
        let (kept, unwanted, wanted) = self.given_listeners(wanted);
        for (id, service) in kept {
            self.adopt(id, service);
        }
        // A socket in the file system with another mode or owner is another one, and so
        // is, on Windows, one whose connections programs get themselves.
        let stays = |slot: &Slot| {
            let want = wanted.iter().find(|(_, address)| *address == slot.address);
            let plan = want.and_then(|(service, _)| self.services.get(service));
            plan.is_none_or(|served| slot.may_stay(&served.service.listen_options()))
        };
        let own =
            self.slots.iter().filter(|(id, _)| self.given.iter().all(|(_, given)| *given != Some(**id)));
        let (ids, now): (Vec<ListenerId>, Vec<(Address, bool)>) =
            own.map(|(id, slot)| (*id, (slot.address.clone(), stays(slot)))).unzip();
        let targets: Vec<Address> = wanted.iter().map(|(_, address)| address.clone()).collect();
        let changes = changes(&now, &targets);
        let mut said = true;
        for want in changes.bind {
            let (service, address) = &wanted[want];
            if let Some(id) = self.add_slot(*service, address.clone(), None) {
                said = self.bind_new(id, said).await;
            }
        }
        for (place, want) in changes.keep {
            self.adopt(ids[place], wanted[want].0);
        }
        for id in unwanted.into_iter().chain(changes.close.into_iter().map(|place| ids[place])) {
            self.close_slot(id).await;
        }
        for (want, old) in changes.replace {
            let (service, address) = &wanted[want];
            let mut closed = Vec::new();
            for place in old {
                closed.extend(self.close_slot(ids[place]).await);
            }
            if let Some(id) = self.add_slot(*service, address.clone(), None) {
                if let (Some(slot), Some(old)) = (self.slots.get_mut(&id), closed.first()) {
                    slot.replaces(old);
                }
                said = self.bind_new(id, said).await;
            }
        }
    }

    /// The sockets that a service manager has opened for us: those that stand
    /// for something that is wanted, with its service; those that nobody wants;
    /// and what is wanted besides. In the place of one that is closed already its
    /// address is wanted.
    fn given_listeners(&self, wanted: &[(ServiceId, Address)]) -> GivenListeners {
        let with_socket = |(given, id): &(Given, Option<ListenerId>)| {
            let id = id.filter(|id| self.slots.contains_key(id));
            // We can't bind both families at once, but each.
            (id.is_some() || !given.is_bare_port()).then(|| (given.clone(), id))
        };
        let (given, ids): (Vec<_>, Vec<_>) = self.given.iter().filter_map(with_socket).unzip();
        let given = named_as_wanted(given, wanted);
        let Assignment { listeners, unwanted } = assign(wanted, &given);
        let mut kept = Vec::new();
        let mut others = Vec::new();
        for (service, address, place) in listeners {
            match place.and_then(|place| ids[place]) {
                Some(id) => kept.push((id, service)),
                // Two sockets may have shared one address.
                None if others.contains(&(service, address.clone())) => {}
                None => others.push((service, address)),
            }
        }
        (kept, unwanted.into_iter().filter_map(|place| ids[place]).collect(), others)
    }

    fn adopt(&mut self, id: ListenerId, service: ServiceId) {
        let Some(options) = self.services.get(&service).map(|served| served.service.listen_options()) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.adopt(service, options);
        }
    }

    async fn close_slot(&mut self, id: ListenerId) -> Option<Slot> {
        let mut slot = self.slots.remove(&id)?;
        self.turns.retain(|other| *other != id);
        if let Some(closing) = slot.close() {
            let _ = closing.await;
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn whoever_comes_while_another_works_leaves_the_work_to_that_one_and_only_the_last_is_done() {
        let turns = Arc::new(Turns::default());
        let (says, hears) = mpsc::channel();
        let (goes_on, waits) = mpsc::channel::<()>();
        let worker = turns.clone();
        let worker = std::thread::spawn(move || {
            worker.take(1, |number| {
                says.send(number).unwrap();
                waits.recv().unwrap();
            });
        });
        assert_eq!(hears.recv(), Ok(1));
        // These come back at once.
        for number in [2, 3] {
            turns.take(number, |number| panic!("{number} is worked on beside"));
        }
        goes_on.send(()).unwrap();
        assert_eq!(hears.recv(), Ok(3));
        goes_on.send(()).unwrap();
        worker.join().unwrap();
        let mut done = Vec::new();
        turns.take(4, |number| done.push(number));
        assert_eq!(done, [4]);
    }
}
