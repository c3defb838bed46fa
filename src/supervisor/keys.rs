//! What came of reading files of keys, in words; and those that the system could not
//! read for a moment: no reload is due, since nobody has anything to mend, so they
//! are read again by themselves.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::Instant;

use super::{Event, Keys, Served, Supervisor};
use crate::log::event::Event as Logged;
use crate::model::level::Level;
use crate::model::plan;
use crate::model::plan::Plan;
use crate::sys::fault::{self, Says};
use crate::tls::Fault;
use crate::tls::keyring;
use crate::tls::keyring::{Finding, Keyring, News};

/// After this they are read again. A disk that fails is asked no more often.
const AGAIN: Duration = Duration::from_secs(5);

/// A revocation list expires by the clock, which may be set, or run on while the system
/// sleeps. So the server looks at it at least this often.
const CLOCK_CHECKED: Duration = Duration::from_secs(3600);

/// What became of the certificates.
pub(super) struct Certificates {
    /// What there is to say, in lines.
    pub said: String,
    /// All that the files name can be used.
    pub all_good: bool,
}

impl Supervisor {
    /// What was read for TLS holds from now on, where it can be used. Says what
    /// is new, and what can't.
    pub(super) fn renew_keys(&mut self, keys: Keys) -> Certificates {
        let mut certificates = Certificates { said: String::new(), all_good: true };
        for Finding { files, news } in self.keyring.renew(keys) {
            let names = self.names_with(&files);
            let until = |keys: &keyring::Keys| {
                keys.until().map_or(String::new(), |until| format!(", which is valid until {until}"))
            };
            // (What is wrong with a file is logged with its place by who looks at the world.)
            let (fault, message, level) = match &news {
                News::Renewed(keys) => {
                    (None, format!("{names}: a new certificate is in use{}", until(keys)), Level::Info)
                }
                News::Kept(fault, keys) => {
                    let stays = format!("{names}: the certificate of before stays in use{}", until(keys));
                    (Some(fault), stays, Level::Warning)
                }
                // (Who looks at the world may be able to read it by then.)
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
                certificates.all_good &= matches!(news, News::Expired(_));
                let _ = writeln!(certificates.said, "warning: {fault}");
                if let Some(hint) = &fault.hint {
                    let _ = writeln!(certificates.said, "  hint: {hint}");
                }
            }
            let _ = writeln!(certificates.said, "{message}");
            self.log.event(Logged::Configuration { level, message, hint: None });
        }
        self.keys_again();
        self.watch_lists();
        certificates
    }

    /// Why a plan would take from services the certificates that they have: it names
    /// others for them that can't be used.
    pub(super) fn lost_keys(&self, plan: &Plan, keys: &Keys) -> Option<String> {
        let mut said = String::new();
        for service in plan.enabled() {
            let has = |old: &&Served| old.service.name == service.name;
            let old = self.services.values().find(has).and_then(|old| old.service.tls.as_ref());
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
    pub(super) fn keys_again(&mut self) {
        if !self.keyring.unread().is_empty() && !std::mem::replace(&mut self.keys_pending, true) {
            self.sender.send_later(AGAIN, Event::ReadKeys);
        }
    }

    /// Reads them, beside the loop. Without a thread for it that is put off.
    pub(super) fn read_keys(&mut self) {
        let (files, sender) = (self.keyring.unread().to_vec(), self.sender.clone());
        let read = move || sender.send(Event::KeysRead(Keyring::read_files(files)));
        let started = fault::point("thread:keys", Says::Processes)
            .and_then(|()| std::thread::Builder::new().name("keys".to_owned()).spawn(read));
        if started.is_err() {
            self.keys_read(Keys::default());
        }
    }

    /// What can be used now holds for clients that come from now on.
    pub(super) fn keys_read(&mut self, keys: Keys) {
        self.keys_pending = false;
        for files in self.keyring.complete(keys) {
            let message = format!("{} and its key can be read now", files.certificate.display());
            self.log.event(Logged::Configuration { level: Level::Info, message, hint: None });
        }
        self.say_expired_lists();
        self.keys_again();
    }

    /// Warns once of each revocation list in use that has expired meanwhile.
    pub(super) fn say_expired_lists(&mut self) {
        for Finding { files, news } in self.keyring.expired_lists() {
            let News::Expired(fault) = news else { continue };
            let message = format!("{}: {}", self.names_with(&files), of_expired_list(&fault));
            self.log.event(Logged::Configuration { level: Level::Warning, message, hint: fault.hint });
        }
        self.watch_lists();
    }

    /// The next look at the revocation lists is when the first of them expires.
    fn watch_lists(&mut self) {
        let wait = self.keyring.next_list_expires_in();
        self.lists_at = wait.map(|wait| Instant::now() + wait.min(CLOCK_CHECKED));
    }

    /// The services that have these files.
    fn names_with(&self, files: &plan::Tls) -> String {
        let whose = self.services.values().filter(|served| served.service.tls.as_ref() == Some(files));
        let mut names: Vec<&str> = whose.map(|served| &*served.service.name).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

/// What holds while an expired list is in use.
fn of_expired_list(fault: &Fault) -> String {
    format!(
        "{fault}; it stays in force: certificates that it revokes are refused, later revocations are unknown"
    )
}
