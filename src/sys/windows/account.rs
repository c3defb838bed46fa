//! Accounts on Windows: a batch logon, the profile, the account's own
//! environment. Every step can hold its caller for long, so they are done on
//! spawn threads, and a taken account is kept for a while (`spawn::accounts`).

use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ACCOUNT_DISABLED, ERROR_ACCOUNT_EXPIRED, ERROR_ACCOUNT_LOCKED_OUT,
    ERROR_ACCOUNT_RESTRICTION, ERROR_DOMAIN_CONTROLLER_NOT_FOUND, ERROR_INVALID_LOGON_HOURS,
    ERROR_LOGON_FAILURE, ERROR_LOGON_TYPE_NOT_GRANTED, ERROR_NETLOGON_NOT_STARTED, ERROR_NO_LOGON_SERVERS,
    ERROR_NO_SUCH_DOMAIN, ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY, ERROR_PASSWORD_EXPIRED,
    ERROR_PASSWORD_MUST_CHANGE, ERROR_PRIVILEGE_NOT_HELD, ERROR_TRUSTED_DOMAIN_FAILURE,
    ERROR_TRUSTED_RELATIONSHIP_FAILURE, HANDLE,
};
use windows_sys::Win32::Security::{
    LOGON32_LOGON_BATCH, LOGON32_LOGON_SERVICE, LOGON32_PROVIDER_DEFAULT, LogonUserW, TOKEN_ADJUST_DEFAULT,
    TOKEN_ADJUST_SESSIONID, TOKEN_ASSIGN_PRIMARY, TOKEN_DUPLICATE, TOKEN_IMPERSONATE, TOKEN_QUERY,
};
use windows_sys::Win32::System::Environment::{CreateEnvironmentBlock, DestroyEnvironmentBlock};
use windows_sys::Win32::UI::Shell::{LoadUserProfileW, PROFILEINFOW, UnloadUserProfile};

use super::super::fault::{self, Says};
use super::super::{SpawnError, Step};
use super::handle::{check, size, wide};
use super::spawn::rights_hint;
use super::user_name::LogonName;
use super::{environment, names, passwords, process};
use crate::model::account::{Credentials, UserName};
use crate::model::secret::{Password, Secret};

/// The domain's controller does not answer (a number of RPC's own).
const RPC_S_SERVER_UNAVAILABLE: u32 = 1722;

/// What a token must allow so that programs can be started with it.
pub(super) const TOKEN_FOR_LOGON: u32 = TOKEN_ASSIGN_PRIMARY
    | TOKEN_DUPLICATE
    | TOKEN_IMPERSONATE
    | TOKEN_QUERY
    | TOKEN_ADJUST_DEFAULT
    | TOKEN_ADJUST_SESSIONID;

/// An account that is logged on. Logged off when dropped.
#[derive(Debug)]
pub struct Account {
    // Before the token: a profile is unloaded with it. None if nobody wants it.
    profile: Option<Profile>,
    token: OwnedHandle,
    environment: Vec<(OsString, OsString)>,
    name: String,
    remark: Option<String>,
}

impl Account {
    /// Logs the account on.
    pub fn take(credentials: &Credentials) -> Result<Account, SpawnError> {
        let name = credentials.user.to_string();
        let at = |step, what: &str, error: io::Error| {
            SpawnError::new(step, format!("{what} {name}: {error}{}", rights_hint(&error)))
        };
        let token = log_on(credentials)?;
        // A token that can't say whose it is proves nothing.
        process::token_user(&token).map_err(|error| at(Step::Logon, "the logon of", error))?;
        let (mut profile, mut remark) = (None, None);
        if credentials.load_profile {
            // By the name that the token has: a profile's folder is called so.
            let own_name =
                names::of_token(&token).unwrap_or_else(|_| LogonName::of(&credentials.user).account);
            match Profile::load(&token, &own_name) {
                Ok(loaded) => profile = Some(loaded),
                Err(error) if is_for_administrators(&error) => remark = Some(without_profile(&name, &error)),
                Err(error) => return Err(at(Step::Profile, "the profile of", error)),
            }
        }
        // Without a profile it is the system's part, and what all new users have.
        let environment =
            environment_of(&token).map_err(|error| at(Step::Profile, "the environment of", error))?;
        Ok(Account { profile, token, environment, name, remark })
    }

    /// What an administrator should know of how it was taken.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// What can be said of the account without a logon: whether it exists. A
    /// wrong password is found by the first client, so that reading a file
    /// never counts against an account.
    /// True if it is an administrator, as far as the system says.
    pub fn examine(credentials: &Credentials) -> Result<bool, SpawnError> {
        let user = &credentials.user;
        let logon_name = LogonName::of(user);
        let full_name = logon_name.full();
        match names::is_user(&full_name) {
            // Who may not look into the store learns it from the first client.
            Ok(true) if is_missing_in_store(credentials) => password_of(credentials).map(|_| false),
            Ok(true) => Ok(!logon_name.is_built_in && names::is_administrator(&full_name)),
            Ok(false) => {
                Err(SpawnError::new(Step::Account, format!("{user} is not a user (a group, perhaps)")))
            }
            Err(error) => Err(SpawnError::new(
                Step::Account,
                format!("there is no account {user} on this system: {error}"),
            )),
        }
    }

    /// How long a taken account may be used before it must be logged on again.
    pub const LIFETIME: Option<std::time::Duration> = Some(std::time::Duration::from_mins(10));

    /// The account's own variables: its profile's and the system's.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        self.environment.clone()
    }

    pub(super) fn token(&self) -> HANDLE {
        self.token.as_raw_handle()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(profile) = self.profile.take() {
            // SAFETY: both handles are open, and no program of ours uses the
            // profile any more: each session keeps its account.
            unsafe { UnloadUserProfile(self.token(), profile.handle) };
            fault::passed("profile-unloaded");
        }
    }
}

/// Whether a profile was not loaded because only administrators and LocalSystem may
/// load one; other rights of an account do not help.
fn is_for_administrators(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(i32::cast_unsigned);
    matches!(code, Some(ERROR_ACCESS_DENIED | ERROR_PRIVILEGE_NOT_HELD))
}

fn without_profile(name: &str, error: &io::Error) -> String {
    format!(
        "programs of {name} run without its profile, because only LocalSystem and administrators can load one: {error}"
    )
}

/// A loaded profile, closed with its token.
#[derive(Debug)]
struct Profile {
    handle: HANDLE,
}

// SAFETY: a profile's handle may be used from any thread.
unsafe impl Send for Profile {}
// SAFETY: nothing is done through a shared reference.
unsafe impl Sync for Profile {}

impl Profile {
    fn load(token: &OwnedHandle, user: &str) -> io::Result<Profile> {
        let mut user = wide(user);
        // SAFETY: zeroes are valid for what is not given; the name ends with zero.
        unsafe {
            let mut info: PROFILEINFOW = std::mem::zeroed();
            info.dwSize = size::<PROFILEINFOW>();
            info.dwFlags = 1; // PI_NOUI: nobody sits before a service's messages
            info.lpUserName = user.as_mut_ptr();
            fault::point("profile", Says::Memory)?;
            fault::point("profile:denied", Says::Denied)?;
            fault::point("profile:privilege", Says::Privilege)?;
            check(LoadUserProfileW(token.as_raw_handle(), &raw mut info))?;
            fault::passed("profile-loaded");
            Ok(Profile { handle: info.hProfile })
        }
    }
}

fn environment_of(token: &OwnedHandle) -> io::Result<Vec<(OsString, OsString)>> {
    fault::point("account-environment", Says::Memory)?;
    let mut block = std::ptr::null_mut();
    // SAFETY: the block that comes back ends with two zeroes and is freed once it is read.
    unsafe {
        check(CreateEnvironmentBlock(&raw mut block, token.as_raw_handle(), 0))?;
        let variables = environment::variables(block.cast());
        DestroyEnvironmentBlock(block);
        Ok(variables)
    }
}

fn log_on(credentials: &Credentials) -> Result<OwnedHandle, SpawnError> {
    let password = password_of(credentials)?;
    fault::point("logon", Says::Memory).map_err(|error| refused(&credentials.user, &error))?;
    #[cfg(debug_assertions)]
    if let Some(how) = std::env::var_os("WININETD_TEST_LOGON") {
        return test_logon(credentials, password.as_ref(), &how);
    }
    let LogonName { account, domain, is_built_in } = LogonName::of(&credentials.user);
    let kind = if is_built_in { LOGON32_LOGON_SERVICE } else { LOGON32_LOGON_BATCH };
    let domain = domain.map(wide);
    let name = wide(account);
    let password = password.as_ref().map(Secret::wide);
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: texts end with zero or are null where that is allowed; the
    // handle that comes back is new and ours.
    unsafe {
        check(LogonUserW(
            name.as_ptr(),
            domain.as_ref().map_or(std::ptr::null(), |domain| domain.as_ptr()),
            password.as_ref().map_or(std::ptr::null(), |password| password.as_ptr()),
            kind,
            LOGON32_PROVIDER_DEFAULT,
            &raw mut token,
        ))
        .map_err(|error| refused(&credentials.user, &error))?;
        Ok(OwnedHandle::from_raw_handle(token))
    }
}

/// For tests where no logon can succeed: the way behind it, with our own token
/// (`own`), for one password only (`own:PASSWORD`), or a crash in its midst.
#[cfg(debug_assertions)]
fn test_logon(
    credentials: &Credentials,
    password: Option<&Secret>,
    how: &std::ffi::OsStr,
) -> Result<OwnedHandle, SpawnError> {
    let how = how.to_string_lossy();
    #[allow(clippy::panic)]
    if how == "crash" {
        panic!("the logon of {credentials:?} with {password:?}");
    }
    let wanted = how.strip_prefix("own:").map(Secret::new);
    if wanted.is_some() && wanted.as_ref() != password {
        let error = io::Error::from_raw_os_error(ERROR_LOGON_FAILURE.cast_signed());
        return Err(refused(&credentials.user, &error));
    }
    process::own_token().map_err(|error| SpawnError::new(Step::Logon, error))
}

/// Accounts have no numbers of this kind here.
pub fn name_of_user(_: u32) -> io::Result<Option<(String, u32)>> {
    Ok(None)
}

/// Nor have groups.
pub fn name_of_group(_: u32) -> io::Result<Option<String>> {
    Ok(None)
}

/// Tries an account's password, without starting anything. A wrong one counts
/// against the account.
pub fn try_out(credentials: &Credentials) -> Result<(), SpawnError> {
    log_on(credentials).and_then(|token| {
        process::token_user(&token).map(drop).map_err(|error| {
            SpawnError::new(Step::Logon, format!("the logon of {}: {error}", credentials.user))
        })
    })
}

/// Whether a failed logon may have counted against the account. Errors of the
/// way there do not: the account was never asked.
pub fn counts_against_account(error: &SpawnError) -> bool {
    let code = error.code.and_then(|code| u32::try_from(code).ok());
    let on_the_way = matches!(
        code,
        Some(
            ERROR_NO_LOGON_SERVERS
                | ERROR_NO_SUCH_DOMAIN
                | ERROR_DOMAIN_CONTROLLER_NOT_FOUND
                | ERROR_NETLOGON_NOT_STARTED
                | ERROR_TRUSTED_RELATIONSHIP_FAILURE
                | ERROR_TRUSTED_DOMAIN_FAILURE
                | RPC_S_SERVER_UNAVAILABLE
                | ERROR_NOT_ENOUGH_MEMORY
                | ERROR_NO_SYSTEM_RESOURCES
        )
    );
    error.step == Step::Logon && !on_the_way
}

/// A refused logon with its cure.
fn refused(user: &UserName, error: &io::Error) -> SpawnError {
    let code = error.raw_os_error().and_then(|code| u32::try_from(code).ok()).unwrap_or(0);
    let cure = match code {
        ERROR_LOGON_FAILURE => "; the user name or the password in the file is wrong",
        ERROR_LOGON_TYPE_NOT_GRANTED => {
            "; the account lacks a right: secpol.msc > Local Policies > User Rights Assignment > Log on as a batch job"
        }
        ERROR_ACCOUNT_RESTRICTION => "; accounts without a password can't log on here",
        ERROR_PASSWORD_EXPIRED | ERROR_PASSWORD_MUST_CHANGE => {
            "; give the account a new password, then write it in the file"
        }
        ERROR_ACCOUNT_DISABLED => "; enable the account",
        ERROR_ACCOUNT_EXPIRED => "; the account's time is over",
        ERROR_ACCOUNT_LOCKED_OUT => "; unlock the account, and look who tries wrong passwords",
        ERROR_INVALID_LOGON_HOURS => "; the account may not log on at this hour",
        _ => "",
    };
    let mut refusal = SpawnError::new(Step::Logon, format!("logon of {user}: {error}{cure}"));
    refusal.code = error.raw_os_error();
    refusal
}

/// Reads a user field.
pub fn parse_credentials(user: &str, password: Option<&str>, service: &str) -> Result<Credentials, String> {
    let user = UserName(user.to_owned());
    let name = LogonName::of(&user);
    if name.is_incomplete() {
        return Err("a user name is missing before the colon".to_owned());
    }
    if password.is_none() && !name.is_built_in {
        return Err(format!(
            "{user} needs a password here: write {user}:PASSWORD, or {user}:{{stored}} after --set-password {user}"
        ));
    }
    let password = password.filter(|_| !name.is_built_in).map(|password| Password::parse(password, service));
    Ok(Credentials { user, password, group: None, load_profile: true })
}

/// Whether the account needs no password.
pub fn is_built_in(user: &UserName) -> bool {
    LogonName::of(user).is_built_in
}

/// Whether the password is to be in the store and is not.
fn is_missing_in_store(credentials: &Credentials) -> bool {
    match &credentials.password {
        Some(Password::Stored { service }) => matches!(passwords::find(service, &credentials.user), Ok(None)),
        Some(Password::Typed(_)) | None => false,
    }
}

/// The password of an account, from where it is kept.
fn password_of(credentials: &Credentials) -> Result<Option<Secret>, SpawnError> {
    let user = &credentials.user;
    match &credentials.password {
        None => Ok(None),
        Some(Password::Typed(secret)) => Ok(Some(secret.clone())),
        Some(Password::Stored { service }) => match passwords::find(service, user) {
            Ok(Some(secret)) => Ok(Some(secret)),
            Ok(None) => {
                let cause =
                    format!("no password is stored for {user}: `wininetd --set-password {user}` stores it");
                Err(SpawnError::new(Step::Account, cause))
            }
            Err(error) => {
                let cause = format!(
                    "the stored password of {user}: {error} (only LocalSystem and administrators can open it)"
                );
                Err(SpawnError::new(Step::Account, cause))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_of_the_system_need_no_password() {
        assert!(is_built_in(&parse_credentials("localservice", None, "s").unwrap().user));
        assert!(
            parse_credentials(r"NT AUTHORITY\NetworkService", Some("x"), "s").unwrap().password.is_none()
        );
        assert!(parse_credentials(r"CORP\LocalService", None, "s").is_err());
    }

    #[test]
    fn a_user_without_a_colon_is_told_what_to_write() {
        assert!(parse_credentials("davide", None, "s").unwrap_err().contains("davide:PASSWORD"));
    }
}
