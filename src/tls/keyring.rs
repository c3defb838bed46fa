//! The TLS keys of all services, by their files. Broken files never replace keys in use.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::plan;
use crate::model::plan::Plan;
pub use crate::tls::Keys;
use crate::tls::TlsFault;

#[derive(Debug, Default)]
pub struct Keyring {
    keys: HashMap<plan::Tls, Result<Keys, Arc<str>>>,
    /// Files that the system could not read, to be retried.
    unread: Vec<plan::Tls>,
    /// Files whose revocation list expired since they were read.
    expired: HashSet<plan::Tls>,
}

pub type Read = HashMap<plan::Tls, Result<Keys, TlsFault>>;

#[derive(Debug)]
pub struct KeyFinding {
    pub files: plan::Tls,
    pub news: News,
}

#[derive(Debug)]
pub enum News {
    Renewed(Keys),
    /// The files cannot be used. The previous keys stay in use.
    Kept(TlsFault, Keys),
    Missing(TlsFault),
    /// The revocation list has expired, and stays in force.
    Expired(TlsFault),
}

impl Keyring {
    /// Reads the files of all enabled services. Blocks.
    pub fn read(plan: &Plan) -> Read {
        Keyring::read_files(plan.enabled().filter_map(|service| service.tls.clone()))
    }

    /// Reads these files. Blocks.
    pub fn read_files(files: impl IntoIterator<Item = plan::Tls>) -> Read {
        files.into_iter().map(|files| (files.clone(), Keys::load(&files))).collect()
    }

    /// Files that cannot be used leave the previous keys in place.
    pub fn renew(&mut self, read: Read) -> Vec<KeyFinding> {
        let mut findings = Vec::new();
        let mut before = std::mem::take(&mut self.keys);
        self.unread.clear();
        self.expired.clear();
        for (files, keys) in read {
            let known = before.remove(&files);
            let keys = judge_list(keys, known.as_ref());
            if keys.as_ref().is_err_and(|fault| fault.may_heal) {
                self.unread.push(files.clone());
            }
            let (keys, news) = match (keys, known) {
                (Ok(keys), None) => (Ok(keys), None),
                (Ok(keys), Some(Ok(old))) if keys.same_certificate(&old) => (Ok(keys), None),
                (Ok(keys), Some(_)) => (Ok(keys.clone()), Some(News::Renewed(keys))),
                (Err(fault), Some(Ok(old))) => (Ok(old.clone()), Some(News::Kept(fault, old))),
                (Err(fault), _) => (Err(Arc::from(fault.to_string())), Some(News::Missing(fault))),
            };
            findings.extend(news.map(|news| KeyFinding { files: files.clone(), news }));
            self.keys.insert(files, keys);
        }
        findings.extend(self.expired_lists());
        findings
    }

    pub fn expired_lists(&mut self) -> Vec<KeyFinding> {
        let mut findings = Vec::new();
        for (files, keys) in &self.keys {
            let Some(fault) = keys.as_ref().ok().and_then(Keys::expired_list) else { continue };
            if self.expired.insert(files.clone()) {
                findings.push(KeyFinding { files: files.clone(), news: News::Expired(fault) });
            }
        }
        findings
    }

    pub fn next_list_expires_in(&self) -> Option<Duration> {
        self.keys.values().flatten().filter_map(Keys::list_expires_in).min()
    }

    pub fn unread(&self) -> &[plan::Tls] {
        &self.unread
    }

    /// Takes the result of a retry. Returns the files that can be used now.
    pub fn complete(&mut self, read: Read) -> Vec<plan::Tls> {
        let mut usable = Vec::new();
        for (files, keys) in read {
            let Some(place) = self.unread.iter().position(|unread| *unread == files) else { continue };
            match judge_list(keys, self.keys.get(&files)) {
                Err(fault) if fault.may_heal => continue,
                Err(fault) => {
                    let wrong = Err(Arc::from(fault.to_string()));
                    self.keys.entry(files).and_modify(|keys| {
                        if keys.is_err() {
                            *keys = wrong.clone();
                        }
                    });
                }
                Ok(keys) => {
                    self.keys.insert(files.clone(), Ok(keys));
                    usable.push(files);
                }
            }
            self.unread.swap_remove(place);
        }
        usable
    }

    pub fn get(&self, files: &plan::Tls) -> Option<Result<Keys, Arc<str>>> {
        self.keys.get(files).cloned()
    }
}

pub fn fault_at_start(keys: &Result<Keys, TlsFault>) -> Option<TlsFault> {
    match keys {
        Ok(keys) => keys.expired_list(),
        Err(fault) => Some(fault.clone()),
    }
}

/// An expired revocation list is a fault unless it follows a list in use, so that a certificate
/// can be renewed alone. It must not be older than that list, or revoked certificates would be
/// accepted again.
fn judge_list(
    keys: Result<Keys, TlsFault>,
    in_use: Option<&Result<Keys, Arc<str>>>,
) -> Result<Keys, TlsFault> {
    let keys = keys?;
    let may_follow = in_use.is_some_and(|old| old.as_ref().is_ok_and(|old| !keys.has_older_list(old)));
    match keys.expired_list() {
        Some(fault) if !may_follow => Err(fault),
        _ => Ok(keys),
    }
}
