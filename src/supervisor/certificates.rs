//! The TLS certificates of services: which ones are in use, and messages about reading them. The
//! server reads files again by itself if the system could not read them for a moment.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::event::Event;
use super::hub::Hub;
use super::services::Services;
use crate::model::level::Level;
use crate::model::plan::{self, Plan, Service};
use crate::sys::fault::{self, Says};
use crate::tls::Keys;
use crate::tls::TlsFault;
use crate::tls::keyring::{self, KeyFinding, Keyring, News, Read};

/// The pause before reading files again. It limits the load on a failing disk.
const AGAIN: Duration = Duration::from_secs(5);

/// The longest time between two checks of revocation lists. They expire by the system clock, which
/// can be set or run on while the system sleeps.
const CLOCK_CHECKED: Duration = Duration::from_secs(3600);

pub(super) struct Renewal {
    pub said: String,
    pub all_good: bool,
}

#[derive(Debug, Default)]
pub(super) struct Certificates {
    keyring: Keyring,
    pending: bool,
    pub lists_at: Option<Instant>,
}

impl Certificates {
    /// The TLS keys of a service, or why they are missing. `None` without TLS.
    pub fn of(&self, service: &Service) -> Option<Result<Keys, Arc<str>>> {
        self.keyring.get(service.tls.as_ref()?)
    }

    pub fn fault_of(&self, service: &Service) -> Option<String> {
        let files = service.tls.as_ref()?;
        let fault = self.keyring.get(files)?.err()?;
        let next = match self.keyring.unread().contains(files) {
            true => "the server reads it again soon",
            false => "mend it, and have it read again (--reload)",
        };
        Some(format!("{fault}; {next}"))
    }

    /// Takes new TLS keys into use if they are usable. Reports new keys and faults.
    pub fn renew(&mut self, keys: Read, services: &Services, hub: &Hub) -> Renewal {
        let mut renewal = Renewal { said: String::new(), all_good: true };
        for KeyFinding { files, news } in self.keyring.renew(keys) {
            let names = names_with(&files, services);
            let until = |keys: &Keys| {
                keys.until().map_or(String::new(), |until| format!(", which is valid until {until}"))
            };
            // `Reloader::look` also logs faults of a file, with their location.
            let (fault, message, level) = match &news {
                News::Renewed(keys) => {
                    (None, format!("{names}: a new certificate is in use{}", until(keys)), Level::Info)
                }
                News::Kept(fault, keys) => {
                    let stays = format!("{names}: the previous certificate stays in use{}", until(keys));
                    (Some(fault), stays, Level::Warning)
                }
                // Has the fault in the message, because `Reloader::look` may not find it any more.
                News::Missing(fault) if fault.may_heal => {
                    let closed = format!("{names}: {fault}; clients are closed until it can be read");
                    (Some(fault), closed, Level::Warning)
                }
                News::Missing(fault) => {
                    let closed =
                        format!("{names}: clients are closed until this is corrected and read again");
                    (Some(fault), closed, Level::Error)
                }
                News::Expired(fault) => {
                    (Some(fault), format!("{names}: {}", of_expired_list(fault)), Level::Warning)
                }
            };
            if let Some(fault) = fault {
                renewal.all_good &= matches!(news, News::Expired(_));
                let _ = writeln!(renewal.said, "warning: {fault}");
                if let Some(hint) = &fault.hint {
                    let _ = writeln!(renewal.said, "  hint: {hint}");
                }
            }
            let _ = writeln!(renewal.said, "{message}");
            hub.say(level, message, None);
        }
        self.read_again_later(hub);
        self.watch_lists();
        renewal
    }

    /// Why a plan would replace working certificates by files that cannot be used.
    pub fn lost(&self, plan: &Plan, keys: &Read, services: &Services) -> Option<String> {
        let mut said = String::new();
        for service in plan.enabled() {
            let old = services.named(&service.name).and_then(|(_, old)| old.service.tls.as_ref());
            let (Some(old), Some(new)) = (old, &service.tls) else { continue };
            let works = || self.keyring.get(old).is_some_and(|keys| keys.is_ok());
            let fault = keys.get(new).and_then(keyring::fault_at_start);
            if let Some(fault) = fault.filter(|_| old != new && works()) {
                let _ = writeln!(said, "{}: {fault}", service.name);
                if let Some(hint) = &fault.hint {
                    let _ = writeln!(said, "  hint: {hint}");
                }
            }
        }
        (!said.is_empty()).then_some(said)
    }

    fn read_again_later(&mut self, hub: &Hub) {
        if !self.keyring.unread().is_empty() && !std::mem::replace(&mut self.pending, true) {
            hub.sender.send_later(AGAIN, Event::ReadKeys);
        }
    }

    /// Reads on a thread of its own, or tries again later if the system has none.
    pub fn read_again(&mut self, services: &Services, hub: &Hub) {
        let (files, sender) = (self.keyring.unread().to_vec(), hub.sender.clone());
        let read = move || sender.send(Event::KeysRead(Keyring::read_files(files)));
        let started = fault::point("thread:keys", Says::Processes)
            .and_then(|()| std::thread::Builder::new().name("keys".to_owned()).spawn(read));
        if started.is_err() {
            self.were_read(Read::default(), services, hub);
        }
    }

    pub fn were_read(&mut self, keys: Read, services: &Services, hub: &Hub) {
        self.pending = false;
        for files in self.keyring.complete(keys) {
            let message = format!("{} and its key can be read now", files.certificate.display());
            hub.say(Level::Info, message, None);
        }
        self.say_expired_lists(services, hub);
        self.read_again_later(hub);
    }

    /// Warns once about each revocation list in use that has expired.
    pub fn say_expired_lists(&mut self, services: &Services, hub: &Hub) {
        for KeyFinding { files, news } in self.keyring.expired_lists() {
            let News::Expired(fault) = news else { continue };
            let message = format!("{}: {}", names_with(&files, services), of_expired_list(&fault));
            hub.say(Level::Warning, message, fault.hint);
        }
        self.watch_lists();
    }

    fn watch_lists(&mut self) {
        let wait = self.keyring.next_list_expires_in();
        self.lists_at = wait.map(|wait| Instant::now() + wait.min(CLOCK_CHECKED));
    }
}

fn names_with(files: &plan::Tls, services: &Services) -> String {
    let whose = services.plans().filter(|service| service.tls.as_ref() == Some(files));
    let mut names: Vec<&str> = whose.map(|service| &*service.name).collect();
    names.sort_unstable();
    names.join(", ")
}

fn of_expired_list(fault: &TlsFault) -> String {
    format!(
        "{fault}; it stays in force: certificates that it revokes are refused, later revocations are unknown"
    )
}
