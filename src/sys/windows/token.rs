//! Tokens: what a logon's must allow, that of this process, and whose one is.

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

/// What a token must allow so that programs can be started with it.
pub(super) const TOKEN_FOR_LOGON: u32 = TOKEN_ASSIGN_PRIMARY
    | TOKEN_DUPLICATE
    | TOKEN_IMPERSONATE
    | TOKEN_QUERY
    | TOKEN_ADJUST_DEFAULT
    | TOKEN_ADJUST_SESSIONID;

/// The token of this process.
pub(super) fn own() -> io::Result<OwnedHandle> {
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: the pointer is valid for the call, and the handle that comes back is new and ours.
    unsafe {
        check(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY | TOKEN_FOR_LOGON, &raw mut token))?;
        Ok(OwnedHandle::from_raw_handle(token))
    }
}

/// The TOKEN_USER of this process.
pub(super) fn own_user() -> io::Result<Vec<u64>> {
    user_of(&own()?)
}

/// The account of this process, in its written form.
pub(super) fn own_sid() -> io::Result<String> {
    let user = own_user()?;
    // SAFETY: the buffer begins with a TOKEN_USER whose SID lies within it.
    Ok(unsafe { security::text((*user.as_ptr().cast::<TOKEN_USER>()).User.Sid) })
}

/// Whether the token's user is this well-known account.
pub(super) fn is(token: &OwnedHandle, account: WELL_KNOWN_SID_TYPE) -> bool {
    user_of(token).is_ok_and(|user| {
        // SAFETY: the buffer begins with a TOKEN_USER whose SID lies within it, and is aligned for it.
        unsafe { IsWellKnownSid((*user.as_ptr().cast::<TOKEN_USER>()).User.Sid, account) != 0 }
    })
}

/// The token's TOKEN_USER, in a buffer that is aligned for it. Fails for what
/// is no token at all.
pub(super) fn user_of(token: &OwnedHandle) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0u64; 32];
    let mut length = 0;
    // SAFETY: the buffer has the length that is given (a TOKEN_USER with the longest SID takes 84 bytes).
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
