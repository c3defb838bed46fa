//! Accounts on Windows: a batch logon, the profile, the account's own
//! environment. Every step can hold its caller for long, so they are done on
//! spawn threads, and a taken account is kept for a while (`spawn::accounts`).

use std::ffi::OsString;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Environment::{CreateEnvironmentBlock, DestroyEnvironmentBlock};

use super::super::fault::{self, Says};
use super::super::{SpawnError, Step};
use super::handle::check;
use super::logon::{is_missing_in_store, log_on, password_of};
use super::profile::{Profile, is_for_administrators};
use super::user_name::LogonName;
use super::{environment, names, rights, token};
use crate::model::account::{Credentials, UserName};
use crate::model::secret::Password;

pub use super::logon::counts_against_account;

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
            SpawnError::new(step, format!("{what} {name}: {error}{}", rights::hint(&error)))
        };
        let token = log_on(credentials)?;
        // A token that can't say whose it is proves nothing.
        token::user_of(&token).map_err(|error| at(Step::Logon, "the logon of", error))?;
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
            // No program of ours uses it any more: each session keeps its account.
            profile.unload(&self.token);
        }
    }
}

fn without_profile(name: &str, error: &io::Error) -> String {
    format!(
        "programs of {name} run without its profile, because only LocalSystem and administrators can load one: {error}"
    )
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
        token::user_of(&token).map(drop).map_err(|error| {
            SpawnError::new(Step::Logon, format!("the logon of {}: {error}", credentials.user))
        })
    })
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
