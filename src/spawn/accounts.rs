//! Accounts that were taken: one attempt at a time for each, kept while it is
//! good, and left alone for a while after a refusal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::logon::{Logon, Verdict};
use crate::sys::account::{Account, counts_against_account};
use crate::sys::{Credentials, SpawnError, Step};

/// All accounts that programs have asked for. Bounded by the configuration.
pub(super) struct Accounts {
    entries: Mutex<HashMap<Credentials, Arc<Mutex<Entry>>>>,
    /// What sessions have given back. Giving the last one up may unload a
    /// profile, which takes long, so it is done on a spawn thread.
    returned: Mutex<Vec<Arc<Account>>>,
}

struct Entry {
    logon: Logon,
    taken: Option<Arc<Account>>,
    /// What the last refusal said, for those who come meanwhile.
    refusal: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Accounts {
    pub(super) fn new() -> Self {
        Accounts { entries: Mutex::new(HashMap::new()), returned: Mutex::new(Vec::new()) }
    }

    /// The account, taken now or before. `now` tells a monotonic time; it is
    /// asked anew after everything that may have taken long.
    pub(super) fn take(
        &self,
        credentials: &Credentials,
        now: impl Fn() -> Duration,
    ) -> Result<Arc<Account>, SpawnError> {
        let entry = self.entry(credentials);
        // Held while the account is taken: others of the same account wait.
        let mut entry = lock(&entry);
        match entry.logon.wanted(now()) {
            Verdict::UseTaken => {
                if let Some(account) = &entry.taken {
                    return Ok(account.clone());
                }
            }
            Verdict::Refuse(rest) => {
                let cause = format!("{} (not tried again for {} seconds)", entry.refusal, rest.as_secs() + 1);
                return Err(SpawnError::new(Step::Logon, cause));
            }
            Verdict::Take => {}
        }
        // An old token is given back before a new one is asked for.
        entry.taken = None;
        match Account::take(credentials) {
            Ok(account) => {
                let account = Arc::new(account);
                entry.taken = Some(account.clone());
                entry.logon.taken(now());
                Ok(account)
            }
            Err(error) => {
                entry.logon.refused(now(), counts_against_account(&error));
                entry.refusal.clone_from(&error.cause);
                Err(error)
            }
        }
    }

    /// A session needs the account no more.
    pub(super) fn give_back(&self, account: Arc<Account>) {
        // Not the last: the cache or another session has it too.
        if Arc::strong_count(&account) == 1 {
            lock(&self.returned).push(account);
        }
    }

    /// Gives up what was given back. Blocks.
    pub(super) fn clear_returned(&self) {
        drop(std::mem::take(&mut *lock(&self.returned)));
    }

    /// The account turned out to be no good; the next program takes it anew.
    pub(super) fn forget(&self, credentials: &Credentials) {
        let entry = self.entry(credentials);
        let mut entry = lock(&entry);
        entry.taken = None;
        entry.logon.forget();
    }

    /// All of them are taken anew, refused ones too. What sessions have is theirs
    /// until they end; an account that is just being taken stays as it is taken.
    pub(super) fn forget_all(&self) {
        let entries = std::mem::take(&mut *lock(&self.entries));
        for entry in entries.into_values() {
            // Giving up a token may unload a profile, which is for spawn threads.
            if let Ok(mut entry) = entry.try_lock() {
                lock(&self.returned).extend(entry.taken.take());
            }
        }
    }

    fn entry(&self, credentials: &Credentials) -> Arc<Mutex<Entry>> {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(credentials) {
            return entry.clone();
        }
        let entry = Entry { logon: Logon::new(Account::LIFETIME), taken: None, refusal: String::new() };
        entries.entry(credentials.clone()).or_insert(Arc::new(Mutex::new(entry))).clone()
    }
}
