//! Accounts on Windows: batch logon, profile and environment. Each step may block for long, so
//! spawn threads do them, and `spawn::accounts` caches the account.

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

/// A logged-on account. The drop logs it off.
#[derive(Debug)]
pub struct Account {
    // Unloaded with the token. `None` if not wanted or only administrators can load it.
    profile: Option<Profile>,
    token: OwnedHandle,
    environment: Vec<(OsString, OsString)>,
    name: String,
    remark: Option<String>,
}

impl Account {
    pub fn take(credentials: &Credentials) -> Result<Account, SpawnError> {
        let name = credentials.user.to_string();
        let at = |step, what: &str, error: io::Error| {
            SpawnError::new(step, format!("{what} {name}: {error}{}", rights::hint(&error)))
        };
        let token = log_on(credentials)?;
        token::user_of(&token).map_err(|error| at(Step::Logon, "the logon of", error))?;
        let (mut profile, mut remark) = (None, None);
        if credentials.load_profile {
            // The token's own spelling of the name, because it names the profile's folder.
            let own_name =
                names::of_token(&token).unwrap_or_else(|_| LogonName::of(&credentials.user).account);
            match Profile::load(&token, &own_name) {
                Ok(loaded) => profile = Some(loaded),
                Err(error) if is_for_administrators(&error) => remark = Some(without_profile(&name, &error)),
                Err(error) => return Err(at(Step::Profile, "the profile of", error)),
            }
        }
        // Without a profile: the system's variables and those of the default user.
        let environment =
            environment_of(&token).map_err(|error| at(Step::Profile, "the environment of", error))?;
        Ok(Account { profile, token, environment, name, remark })
    }

    /// A warning for the administrator about the logon.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// Checks that the account exists, without a logon: reading a configuration must not count as
    /// a failed logon. Returns whether it is known to be an administrator.
    pub fn examine(credentials: &Credentials) -> Result<bool, SpawnError> {
        let user = &credentials.user;
        let logon_name = LogonName::of(user);
        let full_name = logon_name.full();
        match names::is_user(&full_name) {
            // If this process cannot read the store, the first session reports the error.
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

    pub const LIFETIME: Option<std::time::Duration> = Some(std::time::Duration::from_mins(10));

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
            // Every session holds its account, so no program uses the profile any more.
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
    // SAFETY: the returned block ends with two zeroes and is freed after the read.
    unsafe {
        check(CreateEnvironmentBlock(&raw mut block, token.as_raw_handle(), 0))?;
        let variables = environment::variables(block.cast());
        DestroyEnvironmentBlock(block);
        Ok(variables)
    }
}

/// Always `None`: accounts have no numeric user ID on Windows.
pub fn name_of_user(_: u32) -> io::Result<Option<(String, u32)>> {
    Ok(None)
}

/// Always `None`: groups have no numeric ID on Windows.
pub fn name_of_group(_: u32) -> io::Result<Option<String>> {
    Ok(None)
}

/// Tests a password by a logon. A wrong password counts as a failed logon.
pub fn try_out(credentials: &Credentials) -> Result<(), SpawnError> {
    log_on(credentials).and_then(|token| {
        token::user_of(&token).map(drop).map_err(|error| {
            SpawnError::new(Step::Logon, format!("the logon of {}: {error}", credentials.user))
        })
    })
}

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
