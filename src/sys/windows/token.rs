//! Access tokens: that of this process, and the user of a token.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{
    GetTokenInformation, IsWellKnownSid, TOKEN_ADJUST_DEFAULT, TOKEN_ADJUST_SESSIONID, TOKEN_ASSIGN_PRIMARY,
    TOKEN_DUPLICATE, TOKEN_IMPERSONATE, TOKEN_QUERY, TOKEN_USER, TokenUser, WELL_KNOWN_SID_TYPE,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::handle::check;
use super::security;

/// Access rights that a token needs to start programs.
pub(super) const TOKEN_FOR_LOGON: u32 = TOKEN_ASSIGN_PRIMARY
    | TOKEN_DUPLICATE
    | TOKEN_IMPERSONATE
    | TOKEN_QUERY
    | TOKEN_ADJUST_DEFAULT
    | TOKEN_ADJUST_SESSIONID;

pub(super) fn own() -> io::Result<OwnedHandle> {
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: the pointer is valid for the call; the returned handle is new.
    unsafe {
        check(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY | TOKEN_FOR_LOGON, &raw mut token))?;
        Ok(OwnedHandle::from_raw_handle(token))
    }
}

pub(super) fn own_user() -> io::Result<Vec<u64>> {
    user_of(&own()?)
}

/// The SID of this process's account, as text.
pub(super) fn own_sid() -> io::Result<String> {
    let user = own_user()?;
    // SAFETY: the buffer begins with a TOKEN_USER that holds its SID.
    Ok(unsafe { security::text((*user.as_ptr().cast::<TOKEN_USER>()).User.Sid) })
}

pub(super) fn is(token: &OwnedHandle, account: WELL_KNOWN_SID_TYPE) -> bool {
    user_of(token).is_ok_and(|user| {
        // SAFETY: the aligned buffer begins with a TOKEN_USER that holds its SID.
        unsafe { IsWellKnownSid((*user.as_ptr().cast::<TOKEN_USER>()).User.Sid, account) != 0 }
    })
}

/// The token's TOKEN_USER in an aligned buffer. Fails if the handle is not a token.
pub(super) fn user_of(token: &OwnedHandle) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0u64; 32];
    let mut length = 0;
    // SAFETY: the buffer has 256 bytes. A TOKEN_USER with the longest SID takes 84.
    check(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            buffer.as_mut_ptr().cast(),
            256,
            &raw mut length,
        )
    })?;
    Ok(buffer)
}
