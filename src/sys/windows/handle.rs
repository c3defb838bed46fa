//! Handles that own themselves, results of calls as errors, and text as
//! Windows wants it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::{AsRawSocket, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Networking::WinSock::SOCKET;
use windows_sys::core::BOOL;

/// Turns the FALSE of a call into the error that GetLastError holds.
pub(super) fn check(result: BOOL) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes a handle that a call has just made, or the error that it made instead.
///
/// # Safety
/// The handle is new and nobody else's, or one of the two values of failure.
pub(super) unsafe fn own(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// The size of a structure of the system's, as its calls count.
#[allow(clippy::cast_possible_truncation)] // none is larger than a few hundred bytes
pub(super) const fn size<T>() -> u32 {
    size_of::<T>() as u32
}

/// A socket as Winsock's functions take it.
#[allow(clippy::cast_possible_truncation)] // a handle fits into a pointer by its nature
pub(super) fn raw_socket(socket: &impl AsRawSocket) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

/// Text of the system's that ends with zero.
///
/// # Safety
/// `text` points to units of which one is zero.
pub(super) unsafe fn text_at(text: *const u16) -> OsString {
    // SAFETY: the caller's promise; nothing behind the zero is read.
    unsafe {
        let length = (0..).take_while(|&at| *text.add(at) != 0).count();
        OsString::from_wide(std::slice::from_raw_parts(text, length))
    }
}

/// Text with its closing zero.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}
