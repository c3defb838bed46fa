//! Logons: the token of an account, and the cause of a refusal. A logon may block for long.

use std::io;
use std::os::windows::io::{FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{
    ERROR_ACCOUNT_DISABLED, ERROR_ACCOUNT_EXPIRED, ERROR_ACCOUNT_LOCKED_OUT, ERROR_ACCOUNT_RESTRICTION,
    ERROR_DOMAIN_CONTROLLER_NOT_FOUND, ERROR_INVALID_LOGON_HOURS, ERROR_LOGON_FAILURE,
    ERROR_LOGON_TYPE_NOT_GRANTED, ERROR_NETLOGON_NOT_STARTED, ERROR_NO_LOGON_SERVERS, ERROR_NO_SUCH_DOMAIN,
    ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY, ERROR_PASSWORD_EXPIRED, ERROR_PASSWORD_MUST_CHANGE,
    ERROR_TRUSTED_DOMAIN_FAILURE, ERROR_TRUSTED_RELATIONSHIP_FAILURE, HANDLE,
};
use windows_sys::Win32::Security::{
    LOGON32_LOGON_BATCH, LOGON32_LOGON_SERVICE, LOGON32_PROVIDER_DEFAULT, LogonUserW,
};

use super::super::fault::{self, Says};
use super::super::{SpawnError, Step};
use super::handle::{check, wide};
use super::passwords;
#[cfg(debug_assertions)]
use super::token;
use super::user_name::LogonName;
use crate::model::account::{Credentials, UserName};
use crate::model::secret::{Password, Secret};

/// An RPC error: the domain controller does not answer.
const RPC_S_SERVER_UNAVAILABLE: u32 = 1722;

pub(super) fn log_on(credentials: &Credentials) -> Result<OwnedHandle, SpawnError> {
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
    // SAFETY: the strings are NUL-terminated, or null where allowed; the handle is new.
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

/// For tests where no logon can succeed: this process's own token (`own`), the same for one
/// password only (`own:PASSWORD`), or a panic (`crash`).
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
    token::own().map_err(|error| SpawnError::new(Step::Logon, error))
}

/// Whether the failure may count against the account. Network and resource errors do not.
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

fn refused(user: &UserName, error: &io::Error) -> SpawnError {
    let code = error.raw_os_error().and_then(|code| u32::try_from(code).ok()).unwrap_or(0);
    let cure = match code {
        ERROR_LOGON_FAILURE => "; the user name or the password in the file is wrong",
        ERROR_LOGON_TYPE_NOT_GRANTED => {
            "; the account lacks a right: secpol.msc > Local Policies > User Rights Assignment > Log on as a batch job"
        }
        ERROR_ACCOUNT_RESTRICTION => "; accounts without a password cannot log on here",
        ERROR_PASSWORD_EXPIRED | ERROR_PASSWORD_MUST_CHANGE => {
            "; give the account a new password, then write it in the file"
        }
        ERROR_ACCOUNT_DISABLED => "; enable the account",
        ERROR_ACCOUNT_EXPIRED => "; the account's time is over",
        ERROR_ACCOUNT_LOCKED_OUT => "; unlock the account, and find out what tries wrong passwords",
        ERROR_INVALID_LOGON_HOURS => "; the account may not log on at this hour",
        _ => "",
    };
    let mut refusal = SpawnError::new(Step::Logon, format!("logon of {user}: {error}{cure}"));
    refusal.code = error.raw_os_error();
    refusal
}

pub(super) fn is_missing_in_store(credentials: &Credentials) -> bool {
    match &credentials.password {
        Some(Password::Stored { service }) => matches!(passwords::find(service, &credentials.user), Ok(None)),
        Some(Password::Typed(_)) | None => false,
    }
}

pub(super) fn password_of(credentials: &Credentials) -> Result<Option<Secret>, SpawnError> {
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
