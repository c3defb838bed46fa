//! Accounts: looking one up (which may hold its caller for long, so it is
//! done on spawn threads), and saying whether this process can take it.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::super::{Credentials, SpawnError, Step};
use crate::config::secret::Password;

/// A user as the file names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserName {
    text: OsString,
}

/// An account with all that a program's identity is made of. Frozen when it is
/// looked up, so that a later change of the user database can't change what
/// the configuration was read to mean.
#[derive(Debug, Clone)]
pub struct Account {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
    pub(super) groups: Vec<libc::gid_t>,
    /// It is what this unprivileged process is already.
    pub(super) is_own: bool,
    name: OsString,
    home: OsString,
    shell: OsString,
}

impl Account {
    /// Looks the account up and checks that this process can take it.
    pub fn take(credentials: &Credentials) -> Result<Account, SpawnError> {
        let user = &credentials.user;
        let found = lookup(&user.text)
            .map_err(|error| SpawnError::new(Step::Account, format!("account {user}: {error}")))?;
        let Some(mut account) = found else {
            return Err(SpawnError::new(Step::Account, format!("there is no account {user} on this system")));
        };
        if !super::process::is_privileged() {
            account.is_own = account.matches_own().map_err(|why| SpawnError::new(Step::Account, why))?;
        }
        Ok(account)
    }

    /// What can be said of the account without taking it: here that is all.
    /// True if it gives clients more than ordinary rights.
    pub fn examine(credentials: &Credentials) -> Result<bool, SpawnError> {
        Account::take(credentials).map(|account| account.uid == 0)
    }

    /// How long a taken account may be used: until the files are read again.
    pub const LIFETIME: Option<std::time::Duration> = None;

    /// The account's own variables, in the order of their names.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        [("HOME", &self.home), ("LOGNAME", &self.name), ("SHELL", &self.shell), ("USER", &self.name)]
            .into_iter()
            .map(|(name, value)| (name.into(), value.clone()))
            .collect()
    }

    /// An unprivileged process can take only the identity that it has.
    fn matches_own(&self) -> Result<bool, String> {
        // SAFETY: no preconditions.
        let (uid, gid, euid, egid) =
            unsafe { (libc::getuid(), libc::getgid(), libc::geteuid(), libc::getegid()) };
        if [uid, euid] != [self.uid; 2] || [gid, egid] != [self.gid; 2] {
            let name = self.name.to_string_lossy();
            return if holds_setuid_capability() {
                Ok(false)
            } else {
                Err(format!(
                    "this server may not become {name}: it runs as user id {euid}; start it as root, or with the capabilities setuid, setgid and kill"
                ))
            };
        }
        let own = own_groups().map_err(|error| format!("own groups: {error}"))?;
        match own.iter().find(|group| !self.groups.contains(group)) {
            None => Ok(true),
            Some(_) if holds_setuid_capability() => Ok(false),
            // Running it with our groups would give it more than the account has.
            Some(group) => Err(format!(
                "this server has the group {group}, which {} has not, and may not give it up",
                self.name.to_string_lossy()
            )),
        }
    }
}

/// A server that is not root may still hold the capability (systemd's
/// AmbientCapabilities); then the child tries, and every step is checked there.
fn holds_setuid_capability() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    // CAP_KILL, CAP_SETGID and CAP_SETUID: who may start programs as others
    // but not end them would leave them running.
    const NEEDED: u64 = 1 << 5 | 1 << 6 | 1 << 7;
    bits & NEEDED == NEEDED
}

fn own_groups() -> io::Result<Vec<libc::gid_t>> {
    // SAFETY: a count of 0 asks for the number only and writes nothing.
    let count = super::check(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the buffer has room for `count` ids.
    let count = super::check(unsafe { libc::getgroups(count, groups.as_mut_ptr()) })?;
    groups.truncate(usize::try_from(count).unwrap_or(0));
    Ok(groups)
}

/// The user database's entry of `name`, with its supplementary groups.
fn lookup(name: &OsStr) -> io::Result<Option<Account>> {
    let Ok(c_name) = CString::new(name.as_bytes()) else { return Ok(None) };
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
                // SAFETY: on success the fields point to C strings in `buffer`, which outlives this use.
                let text = |field: *const c_char| unsafe {
                    if field.is_null() {
                        OsString::new()
                    } else {
                        OsString::from_vec(CStr::from_ptr(field).to_bytes().to_vec())
                    }
                };
                return Ok(Some(Account {
                    uid: entry.pw_uid,
                    gid: entry.pw_gid,
                    groups: groups_of(&c_name, entry.pw_gid)?,
                    is_own: false,
                    name: text(entry.pw_name),
                    home: text(entry.pw_dir),
                    shell: text(entry.pw_shell),
                }));
            }
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            // The ways in which libraries say "no such entry".
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// The supplementary groups of an account, its own group among them.
fn groups_of(name: &CStr, gid: libc::gid_t) -> io::Result<Vec<libc::gid_t>> {
    #[cfg(target_vendor = "apple")]
    type Group = libc::c_int;
    #[cfg(not(target_vendor = "apple"))]
    type Group = libc::gid_t;
    let mut room: libc::c_int = 64;
    loop {
        let mut groups: Vec<Group> = vec![0; usize::try_from(room).unwrap_or(0)];
        let mut count = room;
        // SAFETY: the buffer has room for `count` groups, and the name is a C string.
        let result =
            unsafe { libc::getgrouplist(name.as_ptr(), gid as Group, groups.as_mut_ptr(), &raw mut count) };
        if result >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return Ok(groups.into_iter().map(|group| group as libc::gid_t).collect());
        }
        if room >= 1 << 16 {
            return Err(io::Error::other("more groups than this system can list"));
        }
        room = (room * 4).max(count);
    }
}

/// A user database locks nobody out.
pub fn counts_against_account(_: &SpawnError) -> bool {
    false
}

/// Tries whether an account can be taken.
pub fn try_out(credentials: &Credentials) -> Result<(), SpawnError> {
    Account::take(credentials).map(drop)
}

/// Reads a user field. The password of the classic form is neither needed nor
/// used here; a field without a colon is a user as well.
pub fn parse_credentials(user: &str, password: Option<&str>, service: &str) -> Result<Credentials, String> {
    if user.is_empty() {
        return Err("a user name is missing before the colon".to_owned());
    }
    let password = password.map(|password| Password::parse(password, service));
    Ok(Credentials { user: UserName { text: user.into() }, password, group: None, load_profile: true })
}

impl std::fmt::Display for UserName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.text.display())
    }
}
