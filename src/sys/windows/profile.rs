//! Profiles of accounts.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_PRIVILEGE_NOT_HELD, HANDLE};
use windows_sys::Win32::UI::Shell::{LoadUserProfileW, PROFILEINFOW, UnloadUserProfile};

use super::super::fault::{self, Says};
use super::handle::{check, size, wide};

pub(super) fn is_for_administrators(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(i32::cast_unsigned);
    matches!(code, Some(ERROR_ACCESS_DENIED | ERROR_PRIVILEGE_NOT_HELD))
}

#[derive(Debug)]
pub(super) struct Profile {
    handle: HANDLE,
}

// SAFETY: any thread may use a profile's handle.
unsafe impl Send for Profile {}
// SAFETY: no method uses a shared reference.
unsafe impl Sync for Profile {}

impl Profile {
    pub(super) fn load(token: &OwnedHandle, user: &str) -> io::Result<Profile> {
        let mut user = wide(user);
        // SAFETY: zeroes are valid for unset fields; the name is NUL-terminated.
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

    /// Unloads the profile of this token's account. No program may still use it.
    pub(super) fn unload(self, token: &OwnedHandle) {
        // SAFETY: both handles are open; the profile is not used again.
        unsafe { UnloadUserProfile(token.as_raw_handle(), self.handle) };
        fault::passed("profile-unloaded");
    }
}
