//! Logons of accounts: one attempt at a time each, and a pause after a refusal.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::core::logon::{Logon, LogonAction};
use crate::model::account::{Credentials, UserName};
use crate::sys::account::{Account, counts_against_account};
use crate::sys::{SpawnError, Step};

/// All accounts that programs asked for, limited by the configuration.
pub(super) struct Accounts {
    entries: Mutex<HashMap<Credentials, Arc<Mutex<AccountEntry>>>>,
    /// A spawn thread drops them, because that may unload a profile, which takes long.
    returned: Mutex<Vec<Account>>,
    giving_up: Mutex<()>,
    lifetime: Option<Duration>,
    remarked: Mutex<HashSet<UserName>>,
}

struct AccountEntry {
    logon: Logon,
    taken: Option<Arc<Account>>,
    refusal: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Accounts {
    pub(super) fn new(lifetime: Option<Duration>) -> Self {
        Accounts {
            entries: Mutex::default(),
            returned: Mutex::default(),
            giving_up: Mutex::default(),
            lifetime,
            remarked: Mutex::default(),
        }
    }

    /// `now` returns a monotonic time, and is called again after each slow step.
    pub(super) fn take(
        &self,
        credentials: &Credentials,
        now: impl Fn() -> Duration,
    ) -> Result<Arc<Account>, SpawnError> {
        let entry = self.entry(credentials);
        // Held during the logon, so other programs of the same account wait.
        let mut entry = lock(&entry);
        match entry.logon.wanted(now()) {
            LogonAction::UseTaken => {
                if let Some(account) = &entry.taken {
                    return Ok(account.clone());
                }
            }
            LogonAction::Refuse(rest) => {
                let cause = format!("{} (not tried again for {} seconds)", entry.refusal, rest.as_secs() + 1);
                return Err(SpawnError::new(Step::Logon, cause));
            }
            LogonAction::Take => {}
        }
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

    /// A remark for the administrator, once per account.
    pub(super) fn remark<'a>(&self, credentials: &Credentials, account: &'a Account) -> Option<&'a str> {
        let remark = account.remark()?;
        lock(&self.remarked).insert(credentials.user.clone()).then_some(remark)
    }

    /// Returns true if the account must be dropped now.
    pub(super) fn give_back(&self, account: Arc<Account>) -> bool {
        // If two threads drop the last references, exactly one gets the account.
        let last = Arc::into_inner(account);
        let is_last = last.is_some();
        lock(&self.returned).extend(last);
        is_last
    }

    pub(super) fn next_expiry(&self, now: Duration) -> Option<Duration> {
        // The thread that drops accounts checks again when it is done.
        if self.any_returned() && !self.is_giving_up() {
            return Some(now);
        }
        // Skips an account whose logon is under way.
        let expires_at = |entry: &Arc<Mutex<AccountEntry>>| entry.try_lock().ok()?.logon.expires_at();
        lock(&self.entries).values().filter_map(expires_at).min()
    }

    /// Drops returned accounts and expired tokens; sessions keep theirs. May take long, but does
    /// not wait for another thread.
    pub(super) fn give_up_expired(&self, now: Duration) {
        let is_expired = |entry: &mut AccountEntry| {
            let is_expired = entry.logon.expires_at().is_some_and(|at| at <= now);
            if is_expired {
                entry.logon.forget();
            }
            is_expired.then(|| entry.taken.take()).flatten()
        };
        let expired: Vec<Arc<Account>> = lock(&self.entries)
            .values()
            .filter_map(|entry| is_expired(&mut *entry.try_lock().ok()?))
            .collect();
        lock(&self.returned).extend(expired.into_iter().filter_map(Arc::into_inner));
        self.try_clear_returned();
    }

    fn any_returned(&self) -> bool {
        !lock(&self.returned).is_empty()
    }

    pub(super) fn gives_up(&self) -> bool {
        self.any_returned() || self.is_giving_up()
    }

    fn is_giving_up(&self) -> bool {
        matches!(self.giving_up.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Blocks, also while another thread drops accounts.
    pub(super) fn clear_returned(&self) {
        let _alone = lock(&self.giving_up);
        drop(std::mem::take(&mut *lock(&self.returned)));
    }

    pub(super) fn try_clear_returned(&self) {
        if !self.any_returned() {
            return;
        }
        let _alone = match self.giving_up.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        drop(std::mem::take(&mut *lock(&self.returned)));
    }

    pub(super) fn forget(&self, credentials: &Credentials) {
        let entry = self.entry(credentials);
        let mut entry = lock(&entry);
        entry.taken = None;
        entry.logon.forget();
    }

    /// Forgets refused accounts too. Sessions keep theirs, and a logon under way completes.
    pub(super) fn forget_all(&self) {
        let entries = std::mem::take(&mut *lock(&self.entries));
        for entry in entries.into_values() {
            // A spawn thread drops the token, because that may unload a profile.
            if let Ok(mut entry) = entry.try_lock() {
                lock(&self.returned).extend(entry.taken.take().and_then(Arc::into_inner));
            }
        }
    }

    fn entry(&self, credentials: &Credentials) -> Arc<Mutex<AccountEntry>> {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(credentials) {
            return entry.clone();
        }
        let entry = AccountEntry { logon: Logon::new(self.lifetime), taken: None, refusal: String::new() };
        entries.entry(credentials.clone()).or_insert(Arc::new(Mutex::new(entry))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::account::parse_credentials;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The server's own account, if it needs no password.
    fn taken(accounts: &Accounts, now: Duration) -> Option<Arc<Account>> {
        let credentials = parse_credentials("root", None, "s").ok()?;
        accounts.take(&credentials, || now).ok()
    }

    #[test]
    fn an_account_is_given_up_after_its_lifetime() {
        let accounts = Accounts::new(Some(s(600)));
        let Some(account) = taken(&accounts, s(5)) else { return };
        assert_eq!(accounts.next_expiry(s(5)), Some(s(605)));
        accounts.give_up_expired(s(604));
        assert_eq!(Arc::strong_count(&account), 2);
        accounts.give_up_expired(s(605));
        assert_eq!((Arc::strong_count(&account), accounts.next_expiry(s(605))), (1, None));
        let observed = Arc::downgrade(&account);
        assert!(accounts.give_back(account));
        assert_eq!(accounts.next_expiry(s(700)), Some(s(700)));
        accounts.give_up_expired(s(700));
        assert!(observed.upgrade().is_none() && !accounts.gives_up());
    }

    #[test]
    fn a_start_does_not_wait_while_accounts_are_given_up() {
        let accounts = Accounts::new(Some(s(600)));
        if taken(&accounts, s(0)).is_none() {
            return;
        }
        accounts.forget_all();
        let alone = lock(&accounts.giving_up);
        accounts.try_clear_returned();
        accounts.give_up_expired(s(700));
        assert!(accounts.any_returned());
        assert_eq!(accounts.next_expiry(s(700)), None);
        drop(alone);
        accounts.try_clear_returned();
        assert!(!accounts.gives_up());
    }
}
