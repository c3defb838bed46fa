//! Profiles of accounts. Only LocalSystem and administrators can load one.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_PRIVILEGE_NOT_HELD, HANDLE};
use windows_sys::Win32::UI::Shell::{LoadUserProfileW, PROFILEINFOW, UnloadUserProfile};

use super::super::fault::{self, Says};
use super::handle::{check, size, wide};

/// Whether a profile was not loaded because only administrators and LocalSystem may
/// load one; other rights of an account do not help.
pub(super) fn is_for_administrators(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(i32::cast_unsigned);
    matches!(code, Some(ERROR_ACCESS_DENIED | ERROR_PRIVILEGE_NOT_HELD))
}

/// A loaded profile, closed with its token.
#[derive(Debug)]
pub(super) struct Profile {
    handle: HANDLE,
}

// SAFETY: a profile's handle may be used from any thread.
unsafe impl Send for Profile {}
// SAFETY: nothing is done through a shared reference.
unsafe impl Sync for Profile {}

impl Profile {
    pub(super) fn load(token: &OwnedHandle, user: &str) -> io::Result<Profile> {
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

    /// Unloads the profile of the account of this token, which no program uses any more.
    pub(super) fn unload(self, token: &OwnedHandle) {
        // SAFETY: both handles are open, and the profile is not used again.
        unsafe { UnloadUserProfile(token.as_raw_handle(), self.handle) };
        fault::passed("profile-unloaded");
    }
}
