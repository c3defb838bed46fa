//! What the server's own process needs before it serves, and what of it must
//! not reach the programs that it starts.

use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::{INVALID_HANDLE_VALUE, WAIT_OBJECT_0};
use windows_sys::Win32::Networking::WinSock::{WSADATA, WSAStartup};
use windows_sys::Win32::Security::{CheckTokenMembership, WinLocalSystemSid};
use windows_sys::Win32::System::Console::{
    ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE,
    STD_OUTPUT_HANDLE, SetConsoleMode, SetStdHandle,
};
use windows_sys::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX, SetErrorMode,
};
use windows_sys::Win32::System::ErrorReporting::{WER_FAULT_REPORTING_FLAG_NOHEAP, WerSetFlags};
use windows_sys::Win32::System::LibraryLoader::{
    LOAD_LIBRARY_SEARCH_SYSTEM32, SetDefaultDllDirectories, SetDllDirectoryW,
};
use windows_sys::Win32::System::Threading::{
    ExitProcess, OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject,
};

use super::handle::check;
use super::token;

/// Prepares this process for serving. Programs inherit the error mode: on a
/// server nobody sits before a dialog of a crash.
pub fn prepare() -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX) };
    // SAFETY: a WSADATA of zeroes is a valid value to be overwritten.
    let code = unsafe {
        let mut data: WSADATA = std::mem::zeroed();
        WSAStartup(0x0202, &raw mut data)
    };
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// What a service's process needs besides: what is loaded from now on comes from
/// System32, relative paths begin there, a stray line goes nowhere, and a crash
/// report holds no memory in which passwords may lie. (What the program is
/// linked to was loaded before, perhaps from its own folder: one more reason why
/// that must be closed to ordinary users.)
pub fn prepare_service() -> io::Result<()> {
    std::env::set_current_dir(super::directories::system_directory())?;
    let nothing = super::handle::wide("");
    let nul = std::fs::OpenOptions::new().read(true).write(true).open("NUL")?;
    // SAFETY: the text ends with zero; the handle is given away and never closed.
    unsafe {
        check(SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32))?;
        check(SetDllDirectoryW(nothing.as_ptr()))?;
        // Not everywhere known; without it only the dialog is missing anyway.
        WerSetFlags(WER_FAULT_REPORTING_FLAG_NOHEAP);
        let nul = std::os::windows::io::IntoRawHandle::into_raw_handle(nul);
        for stream in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
            check(SetStdHandle(stream, nul))?;
        }
    }
    Ok(())
}

/// Waits until a process is gone; false if it is still there after `patience`.
pub fn wait_gone(pid: u32, patience: std::time::Duration) -> bool {
    let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: no pointers; a handle that comes back is ours.
    unsafe {
        let Ok(process) = super::handle::own(OpenProcess(PROCESS_SYNCHRONIZE, 0, pid)) else { return true };
        WaitForSingleObject(process.as_raw_handle(), milliseconds) == WAIT_OBJECT_0
    }
}

/// Ends this process with a program's code: all of its bits, for which the
/// language's own way has no room.
pub fn end_with(code: u32) -> ! {
    // SAFETY: no pointers; ends the process.
    unsafe { ExitProcess(code) }
}

/// Windows has no such limit for handles; this bounds what a flood can make.
pub fn descriptor_limit() -> usize {
    16_384
}

/// Variables that every program inherits, whatever the file says: without them
/// Winsock does not start, libraries are not found, and no shell runs.
pub const NEEDED_BY_PROGRAMS: &[&str] = &["SystemRoot", "SystemDrive", "windir", "ComSpec", "PATHEXT"];

/// Whether the console of the standard streams shows colors. It does once it is told to read
/// escape sequences, which all streams of one console then do.
pub fn enable_colors() -> bool {
    [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].into_iter().any(|stream| {
        let mut mode = 0;
        // SAFETY: the call takes a number and returns a handle that stays the process's.
        let console = unsafe { GetStdHandle(stream) };
        // SAFETY: a handle that is no console's is an error; the pointer is to a writable number.
        let is_console = unsafe { GetConsoleMode(console, &raw mut mode) } != 0;
        // SAFETY: the handle is a console's.
        is_console && unsafe { SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) } != 0
    })
}

/// Whether somebody may read our standard error: a service has none.
pub fn has_standard_error() -> bool {
    // SAFETY: no pointers.
    let handle = unsafe { GetStdHandle(STD_ERROR_HANDLE) };
    !handle.is_null() && handle != INVALID_HANDLE_VALUE
}

/// Rights of this process that its starter does not have: a program file gives none here.
pub fn borrowed_rights() -> io::Result<Option<String>> {
    Ok(None)
}

/// Whether this process has an administrator's rights, and not only the name.
pub fn is_privileged() -> bool {
    super::names::administrators().is_ok_and(|group| {
        let mut member = 0;
        // SAFETY: null is this thread's own token; the SID lives through the call.
        let asked = unsafe {
            CheckTokenMembership(std::ptr::null_mut(), group.as_ptr().cast_mut().cast(), &raw mut member)
        };
        asked != 0 && member != 0
    })
}

/// The words for whose rights a program without an identity has, if they are
/// more than any client should be given.
pub fn dangerous_own_identity() -> Option<&'static str> {
    token::own()
        .ok()
        .filter(|token| token::is(token, WinLocalSystemSid))
        .map(|_| super::CAPABILITIES.all_rights)
}

pub use super::bind::stdio_fault;
