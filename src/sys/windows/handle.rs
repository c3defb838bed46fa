//! Owned handles, results of Windows calls as errors, and UTF-16 strings.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::{AsRawSocket, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Networking::WinSock::SOCKET;
use windows_sys::core::BOOL;

pub(super) fn check(result: BOOL) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes ownership of a new handle, or returns the error of the call that failed.
///
/// # Safety
/// The handle is new and has no other owner, or it is null or INVALID_HANDLE_VALUE.
pub(super) unsafe fn own(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller guarantees that the handle is new.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

#[allow(clippy::cast_possible_truncation)] // none is larger than a few hundred bytes
pub(super) const fn size<T>() -> u32 {
    size_of::<T>() as u32
}

#[allow(clippy::cast_possible_truncation)] // a handle fits into a pointer by its nature
pub(super) fn raw_socket(socket: &impl AsRawSocket) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

/// Copies a NUL-terminated string.
///
/// # Safety
/// `text` points to units of which one is zero.
pub(super) unsafe fn text_at(text: *const u16) -> OsString {
    // SAFETY: the caller guarantees the zero; nothing after it is read.
    unsafe {
        let length = (0..).take_while(|&at| *text.add(at) != 0).count();
        OsString::from_wide(std::slice::from_raw_parts(text, length))
    }
}

pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}
