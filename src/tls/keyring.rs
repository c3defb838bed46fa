//! What services need for TLS, by the files that it is in. Read when the
//! configuration is; a pair that is broken by then does not replace a good one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::plan;
use crate::model::plan::Plan;
pub use crate::tls::Keys;
use crate::tls::TlsFault;

/// Keys and certificates, or why they can't be used.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: HashMap<plan::Tls, Result<Keys, Arc<str>>>,
    /// What the system could not read, and is to be read again by itself.
    unread: Vec<plan::Tls>,
    /// Whose revocation list was found expired since the files were read.
    expired: HashSet<plan::Tls>,
}

/// What was just read, by its files.
pub type Read = HashMap<plan::Tls, Result<Keys, TlsFault>>;

/// What came of reading some files again.
#[derive(Debug)]
pub struct KeyFinding {
    /// The files.
    pub files: plan::Tls,
    /// What came of it.
    pub news: News,
}

/// See [`KeyFinding`].
#[derive(Debug)]
pub enum News {
    /// Another certificate is there, and in use.
    Renewed(Keys),
    /// They can't be used; what there was before goes on.
    Kept(TlsFault, Keys),
    /// They can't be used, nor is there anything else.
    Missing(TlsFault),
    /// Their revocation list has expired, and stays in force.
    Expired(TlsFault),
}

impl Keyring {
    /// Reads the files of all services that are served. Blocks.
    pub fn read(plan: &Plan) -> Read {
        Keyring::read_files(plan.enabled().filter_map(|service| service.tls.clone()))
    }

    /// Reads these. Blocks.
    pub fn read_files(files: impl IntoIterator<Item = plan::Tls>) -> Read {
        files.into_iter().map(|files| (files.clone(), Keys::load(&files))).collect()
    }

    /// Takes what was read. What can't be used leaves what there was.
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

    /// Revocation lists in use that have expired since this was last asked.
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

    /// When the next revocation list in use expires.
    pub fn next_list_expires_in(&self) -> Option<Duration> {
        self.keys.values().flatten().filter_map(Keys::list_expires_in).min()
    }

    /// What the system could not read.
    pub fn unread(&self) -> &[plan::Tls] {
        &self.unread
    }

    /// Takes what was read again, as far as somebody waits for it. Which of it can be
    /// used now.
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

    /// Those of a service, or why it has none.
    pub fn get(&self, files: &plan::Tls) -> Option<Result<Keys, Arc<str>>> {
        self.keys.get(files).cloned()
    }
}

/// Why a service cannot start with these keys.
pub fn fault_at_start(keys: &Result<Keys, TlsFault>) -> Option<TlsFault> {
    match keys {
        Ok(keys) => keys.expired_list(),
        Err(fault) => Some(fault.clone()),
    }
}

/// An expired revocation list is a fault where the service starts with it. Where it
/// takes the place of a list in use it is none, so that a certificate can be renewed
/// beside it; but then it must not be the older one, or revoked certificates come back.
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
