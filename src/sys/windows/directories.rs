//! The directories of Windows, which ordinary users cannot change.

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;

use windows_sys::Win32::System::SystemInformation::{GetSystemDirectoryW, GetSystemWindowsDirectoryW};

pub(super) fn system_directory() -> PathBuf {
    directory(GetSystemDirectoryW).unwrap_or_else(|| PathBuf::from(r"C:\Windows\System32"))
}

pub(super) fn windows_directory() -> PathBuf {
    directory(GetSystemWindowsDirectoryW).unwrap_or_else(|| PathBuf::from(r"C:\Windows"))
}

fn directory(ask: unsafe extern "system" fn(*mut u16, u32) -> u32) -> Option<PathBuf> {
    let mut buffer = [0u16; 1024];
    // SAFETY: the buffer has the length passed. Both functions write a path of at most that
    // length and return its length.
    let length = unsafe { ask(buffer.as_mut_ptr(), 1024) };
    let length = usize::try_from(length).ok().filter(|&length| length > 0 && length < buffer.len())?;
    Some(PathBuf::from(OsString::from_wide(&buffer[..length])))
}
