//! Accounts. A lookup may block for long, so it runs on spawn threads.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::super::fault::{self, Says};
use super::super::{SpawnError, Step};
use super::groups;
use crate::model::account::{Credentials, UserName};
use crate::model::secret::Password;

/// A program's identity. A later change of the user database does not change it.
#[derive(Debug, Clone)]
pub struct Account {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
    pub(super) groups: Vec<libc::gid_t>,
    /// This unprivileged process has this identity already.
    pub(super) is_own: bool,
    name: OsString,
    home: OsString,
    shell: OsString,
}

impl Account {
    /// A note for the administrator: always `None` on Unix.
    pub fn remark(&self) -> Option<&str> {
        None
    }

    pub fn take(credentials: &Credentials) -> Result<Account, SpawnError> {
        let user = &credentials.user;
        let fault = |why| SpawnError::new(Step::Account, why);
        let group = match credentials.group.as_deref() {
            None => None,
            Some(name) => match groups::by_name(name) {
                Ok(Some(gid)) => Some(gid),
                Ok(None) => return Err(fault(format!("there is no group {name} on this system"))),
                Err(error) => return Err(fault(format!("group {name}: {error}"))),
            },
        };
        let found =
            lookup(user.0.as_ref(), group).map_err(|error| fault(format!("account {user}: {error}")))?;
        let Some(mut account) = found else {
            return Err(fault(format!("there is no account {user} on this system")));
        };
        if !super::process::is_privileged() {
            account.is_own = account.matches_own(credentials.group.as_deref()).map_err(fault)?;
        }
        Ok(account)
    }

    /// True if the account gives clients more than ordinary rights.
    pub fn examine(credentials: &Credentials) -> Result<bool, SpawnError> {
        Account::take(credentials).map(|account| account.uid == 0)
    }

    /// How long an account stays valid: until the next reload.
    pub const LIFETIME: Option<std::time::Duration> = None;

    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        [("HOME", &self.home), ("LOGNAME", &self.name), ("SHELL", &self.shell), ("USER", &self.name)]
            .into_iter()
            .map(|(name, value)| (name.into(), value.clone()))
            .collect()
    }

    /// True if this process has the identity already, false if its capabilities allow the change.
    fn matches_own(&self, group: Option<&str>) -> Result<bool, String> {
        // SAFETY: no preconditions.
        let (uid, gid, euid, egid) =
            unsafe { (libc::getuid(), libc::getgid(), libc::geteuid(), libc::getegid()) };
        if [uid, euid] != [self.uid; 2] || [gid, egid] != [self.gid; 2] {
            let name = self.name.to_string_lossy();
            return if holds_setuid_capability() {
                Ok(false)
            } else if let (Some(group), true) = (group, [uid, euid] == [self.uid; 2]) {
                Err(format!(
                    "this server may not take the group {group}: it runs with group id {egid}; {RIGHTS_NEEDED}"
                ))
            } else {
                Err(format!("this server may not become {name}: it runs as user id {euid}; {RIGHTS_NEEDED}"))
            };
        }
        let own = groups::own().map_err(|error| format!("own groups: {error}"))?;
        match own.iter().find(|group| !self.groups.contains(group)) {
            None => Ok(true),
            Some(_) if holds_setuid_capability() => Ok(false),
            // With our groups the program would have more rights than the account.
            Some(group) => Err(format!(
                "this server has the group {group}, which {} lacks, and may not drop it",
                self.name.to_string_lossy()
            )),
        }
    }
}

const RIGHTS_NEEDED: &str =
    "start it as root, or have its service manager give it the ambient capabilities setuid, setgid and kill";

/// Without root, ambient capabilities may suffice. The child then checks every step.
fn holds_setuid_capability() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    // CAP_KILL, CAP_SETGID and CAP_SETUID. Without CAP_KILL the server could not terminate the
    // programs of other users.
    const NEEDED: u64 = 1 << 5 | 1 << 6 | 1 << 7;
    bits & NEEDED == NEEDED
}

/// May query a remote directory service.
pub(super) fn user_by_name(name: &str) -> io::Result<Option<libc::uid_t>> {
    Ok(lookup(name.as_ref(), None)?.map(|account| account.uid))
}

pub fn name_of_user(number: u32) -> io::Result<Option<(String, u32)>> {
    let mut buffer: Vec<c_char> = vec![0; 4096];
    loop {
        // SAFETY: a passwd of zeroes and null pointers is a valid value to be overwritten.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call, and the buffer's length is its own.
        let code = unsafe {
            libc::getpwuid_r(number, &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        match code {
            0 if found.is_null() || entry.pw_name.is_null() => return Ok(None),
            0 => {
                // SAFETY: on success the name is a C string in `buffer`, which outlives this use.
                let name = unsafe { CStr::from_ptr(entry.pw_name) };
                return Ok(name.to_str().ok().map(|name| (name.to_owned(), entry.pw_gid)));
            }
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            // Some C libraries report a missing entry this way.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

pub fn name_of_group(number: u32) -> io::Result<Option<String>> {
    groups::by_number(number)
}

/// The account `name` with its supplementary groups. `group` replaces its primary group, which is
/// then not among the groups.
fn lookup(name: &OsStr, group: Option<libc::gid_t>) -> io::Result<Option<Account>> {
    let Ok(c_name) = CString::new(name.as_bytes()) else { return Ok(None) };
    fault::point("account", Says::Device)?;
    let mut buffer: Vec<c_char> = vec![0; 4096];
    loop {
        // SAFETY: a passwd of zeroes and null pointers is a valid value to be overwritten.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call, and the buffer's length is its own.
        let code = unsafe {
            libc::getpwnam_r(
                c_name.as_ptr(),
                &raw mut entry,
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match code {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: on success the fields are C strings in `buffer`, which outlives this use.
                let text = |field: *const c_char| unsafe {
                    if field.is_null() {
                        OsString::new()
                    } else {
                        OsString::from_vec(CStr::from_ptr(field).to_bytes().to_vec())
                    }
                };
                let gid = group.unwrap_or(entry.pw_gid);
                return Ok(Some(Account {
                    uid: entry.pw_uid,
                    gid,
                    groups: groups::of_account(&c_name, gid)?,
                    is_own: false,
                    name: text(entry.pw_name),
                    home: text(entry.pw_dir),
                    shell: text(entry.pw_shell),
                }));
            }
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Always false: a Unix user database does not lock accounts after failures.
pub fn counts_against_account(_: &SpawnError) -> bool {
    false
}

pub fn try_out(credentials: &Credentials) -> Result<(), SpawnError> {
    Account::take(credentials).map(drop)
}

/// Unix does not use the password. A field without a colon is a user.
pub fn parse_credentials(user: &str, password: Option<&str>, service: &str) -> Result<Credentials, String> {
    if user.is_empty() {
        return Err("a user name is missing before the colon".to_owned());
    }
    let password = password.map(|password| Password::parse(password, service));
    Ok(Credentials { user: UserName(user.to_owned()), password, group: None, load_profile: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(group: Option<&str>) -> Result<Account, SpawnError> {
        let mut credentials = parse_credentials("daemon", None, "s").unwrap();
        credentials.group = group.map(str::to_owned);
        Account::take(&credentials)
    }

    #[test]
    fn a_group_takes_the_place_of_the_accounts_own() {
        if !super::super::process::is_privileged() {
            return;
        }
        let (own, other) = (taken(None).unwrap(), taken(Some("nogroup")).unwrap());
        assert_eq!(Some(other.gid), groups::by_name("nogroup").unwrap());
        assert_eq!(own.uid, other.uid);
        assert!(other.groups.contains(&other.gid) && !other.groups.contains(&own.gid), "{other:?}");
    }

    #[test]
    fn a_group_that_does_not_exist_is_an_error_in_words() {
        let error = taken(Some("nosuchgroup")).unwrap_err();
        assert_eq!(error.step, Step::Account);
        assert_eq!(error.cause, "there is no group nosuchgroup on this system");
    }
}
