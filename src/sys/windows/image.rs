//! Opens a program's file with the rights of the account that runs it. CreateProcessAsUser
//! would open it with the server's rights, which may be wider.

use std::fs::{File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use windows_sys::Win32::Security::{ImpersonateLoggedOnUser, RevertToSelf};
use windows_sys::Win32::Storage::FileSystem::{FILE_EXECUTE, FILE_READ_ATTRIBUTES, FILE_SHARE_READ};

use super::super::fault::{self, Says};
use super::super::{SpawnError, Step};
use super::account::Account;
use super::handle::check;

pub(super) struct Image {
    _file: File,
}

impl Image {
    /// Prevents writes to the file. The caller impersonates the account.
    pub(super) fn open(account: &Account, program: &Path) -> Result<Image, SpawnError> {
        let opened = fault::point("image-open", Says::Denied).and_then(|()| {
            OpenOptions::new()
                .access_mode(FILE_EXECUTE | FILE_READ_ATTRIBUTES)
                .share_mode(FILE_SHARE_READ)
                .open(program)
        });
        opened.map(|file| Image { _file: file }).map_err(|error| {
            SpawnError::new(Step::Exec, format!("{} as {}: {error}", program.display(), account.name()))
        })
    }
}

/// This thread impersonates the account until the drop.
pub(super) struct Impersonation;

impl Impersonation {
    pub(super) fn of(account: &Account) -> Result<Impersonation, SpawnError> {
        let asked = fault::point("impersonate", Says::Privilege);
        // SAFETY: the account's token is open for the call.
        asked.and_then(|()| check(unsafe { ImpersonateLoggedOnUser(account.token()) })).map_err(|error| {
            SpawnError::new(Step::Logon, format!("taking the rights of {}: {error}", account.name()))
        })?;
        Ok(Impersonation)
    }
}

impl Drop for Impersonation {
    fn drop(&mut self) {
        // SAFETY: no pointers.
        if unsafe { RevertToSelf() } == 0 {
            // This thread must not start programs of others with this account's rights.
            std::process::abort();
        }
    }
}
