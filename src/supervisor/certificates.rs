//! What services need for TLS: what is in use, and what came of reading it, in words. Files
//! that the system could not read for a moment are read again without a reload, since there
//! is nothing to mend.

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

/// After this they are read again. A disk that fails is asked no more often.
const AGAIN: Duration = Duration::from_secs(5);

/// A revocation list expires by the clock, which may be set, or run on while the system
/// sleeps. So the server looks at it at least this often.
const CLOCK_CHECKED: Duration = Duration::from_secs(3600);

/// What became of the renewal.
pub(super) struct Renewal {
    /// What there is to say, in lines.
    pub said: String,
    /// All that the files name can be used.
    pub all_good: bool,
}

/// What services need for TLS.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    keyring: Keyring,
    /// It will be tried again to read what the system could not.
    pending: bool,
    /// When to look again whether a revocation list has expired.
    pub lists_at: Option<Instant>,
}

impl Certificates {
    /// What a service needs for TLS, or why it is not there. `None` without TLS.
    pub fn of(&self, service: &Service) -> Option<Result<Keys, Arc<str>>> {
        self.keyring.get(service.tls.as_ref()?)
    }

    /// Why a service that speaks TLS closes all its clients.
    pub fn fault_of(&self, service: &Service) -> Option<String> {
        let files = service.tls.as_ref()?;
        let fault = self.keyring.get(files)?.err()?;
        let next = match self.keyring.unread().contains(files) {
            true => "it is read again by itself",
            false => "mend it, and have it read again (--reload)",
        };
        Some(format!("{fault}; {next}"))
    }

    /// What was read for TLS holds from now on, where it can be used. Says what
    /// is new, and what can't.
    pub fn renew(&mut self, keys: Read, services: &Services, hub: &Hub) -> Renewal {
        let mut renewal = Renewal { said: String::new(), all_good: true };
        for KeyFinding { files, news } in self.keyring.renew(keys) {
            let names = names_with(&files, services);
            let until = |keys: &Keys| {
                keys.until().map_or(String::new(), |until| format!(", which is valid until {until}"))
            };
            // (The look at the world logs what is wrong with a file, with its place.)
            let (fault, message, level) = match &news {
                News::Renewed(keys) => {
                    (None, format!("{names}: a new certificate is in use{}", until(keys)), Level::Info)
                }
                News::Kept(fault, keys) => {
                    let stays = format!("{names}: the certificate of before stays in use{}", until(keys));
                    (Some(fault), stays, Level::Warning)
                }
                // (The look at the world may be able to read it by then.)
                News::Missing(fault) if fault.may_heal => {
                    let closed = format!("{names}: {fault}; clients are closed until it can be read");
                    (Some(fault), closed, Level::Warning)
                }
                News::Missing(fault) => {
                    let closed = format!("{names}: clients are closed until this is mended and read again");
                    (Some(fault), closed, Level::Error)
                }
                News::Expired(fault) => {
                    (Some(fault), format!("{names}: {}", of_expired_list(fault)), Level::Warning)
                }
            };
            // Writing to a String can't fail.
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

    /// Why a plan would take from services the certificates that they have: it names
    /// others for them that can't be used.
    pub fn lost(&self, plan: &Plan, keys: &Read, services: &Services) -> Option<String> {
        let mut said = String::new();
        for service in plan.enabled() {
            let old = services.named(&service.name).and_then(|(_, old)| old.service.tls.as_ref());
            let (Some(old), Some(new)) = (old, &service.tls) else { continue };
            let works = || self.keyring.get(old).is_some_and(|keys| keys.is_ok());
            let fault = keys.get(new).and_then(keyring::fault_at_start);
            if let Some(fault) = fault.filter(|_| old != new && works()) {
                // Writing to a String can't fail.
                let _ = writeln!(said, "{}: {fault}", service.name);
                if let Some(hint) = &fault.hint {
                    let _ = writeln!(said, "  hint: {hint}");
                }
            }
        }
        (!said.is_empty()).then_some(said)
    }

    /// They will be read again, if there are any.
    fn read_again_later(&mut self, hub: &Hub) {
        if !self.keyring.unread().is_empty() && !std::mem::replace(&mut self.pending, true) {
            hub.sender.send_later(AGAIN, Event::ReadKeys);
        }
    }

    /// Reads them, beside the loop. Without a thread for it that is put off.
    pub fn read_again(&mut self, services: &Services, hub: &Hub) {
        let (files, sender) = (self.keyring.unread().to_vec(), hub.sender.clone());
        let read = move || sender.send(Event::KeysRead(Keyring::read_files(files)));
        let started = fault::point("thread:keys", Says::Processes)
            .and_then(|()| std::thread::Builder::new().name("keys".to_owned()).spawn(read));
        if started.is_err() {
            self.were_read(Read::default(), services, hub);
        }
    }

    /// What can be used now holds for clients that come from now on.
    pub fn were_read(&mut self, keys: Read, services: &Services, hub: &Hub) {
        self.pending = false;
        for files in self.keyring.complete(keys) {
            let message = format!("{} and its key can be read now", files.certificate.display());
            hub.say(Level::Info, message, None);
        }
        self.say_expired_lists(services, hub);
        self.read_again_later(hub);
    }

    /// Warns once of each revocation list in use that has expired meanwhile.
    pub fn say_expired_lists(&mut self, services: &Services, hub: &Hub) {
        for KeyFinding { files, news } in self.keyring.expired_lists() {
            let News::Expired(fault) = news else { continue };
            let message = format!("{}: {}", names_with(&files, services), of_expired_list(&fault));
            hub.say(Level::Warning, message, fault.hint);
        }
        self.watch_lists();
    }

    /// The next look at the revocation lists is when the first of them expires.
    fn watch_lists(&mut self) {
        let wait = self.keyring.next_list_expires_in();
        self.lists_at = wait.map(|wait| Instant::now() + wait.min(CLOCK_CHECKED));
    }
}

/// The services that have these files.
fn names_with(files: &plan::Tls, services: &Services) -> String {
    let whose = services.plans().filter(|service| service.tls.as_ref() == Some(files));
    let mut names: Vec<&str> = whose.map(|service| &*service.name).collect();
    names.sort_unstable();
    names.join(", ")
}

/// What holds while an expired list is in use.
fn of_expired_list(fault: &TlsFault) -> String {
    format!(
        "{fault}; it stays in force: certificates that it revokes are refused, later revocations are unknown"
    )
}
