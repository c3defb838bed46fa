//! Prepares the server's own process, and the state that programs inherit from it.

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

/// Initialises Winsock and turns off crash dialogs, which programs inherit.
pub fn prepare() -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX) };
    // SAFETY: zeroes are a valid WSADATA, which the call overwrites.
    let code = unsafe {
        let mut data: WSADATA = std::mem::zeroed();
        WSAStartup(0x0202, &raw mut data)
    };
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// Prepares a service's process: further DLLs come from System32, relative paths begin there,
/// the standard streams go nowhere, and crash reports hold no heap with passwords. The
/// program's own DLLs are loaded before, perhaps from its folder: ordinary users must not be
/// able to write there.
pub fn prepare_service() -> io::Result<()> {
    std::env::set_current_dir(super::directories::system_directory())?;
    let nothing = super::handle::wide("");
    let nul = std::fs::OpenOptions::new().read(true).write(true).open("NUL")?;
    // SAFETY: the string is NUL-terminated; the process keeps the handle open for ever.
    unsafe {
        check(SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32))?;
        check(SetDllDirectoryW(nothing.as_ptr()))?;
        // Not supported everywhere. The error mode suppresses the crash dialog anyway.
        WerSetFlags(WER_FAULT_REPORTING_FLAG_NOHEAP);
        let nul = std::os::windows::io::IntoRawHandle::into_raw_handle(nul);
        for stream in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
            check(SetStdHandle(stream, nul))?;
        }
    }
    Ok(())
}

pub fn wait_gone(pid: u32, patience: std::time::Duration) -> bool {
    let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: no pointers; a returned handle is new.
    unsafe {
        let Ok(process) = super::handle::own(OpenProcess(PROCESS_SYNCHRONIZE, 0, pid)) else { return true };
        WaitForSingleObject(process.as_raw_handle(), milliseconds) == WAIT_OBJECT_0
    }
}

/// Exits with all 32 bits of a program's exit code, of which `ExitCode` holds 8.
pub fn end_with(code: u32) -> ! {
    // SAFETY: no pointers.
    unsafe { ExitProcess(code) }
}

/// Windows has no limit of handles; this one bounds a flood of connections.
pub fn descriptor_limit() -> usize {
    16_384
}

/// Variables that every program inherits under any configuration: Winsock, the DLL
/// search and shells need them.
pub const NEEDED_BY_PROGRAMS: &[&str] = &["SystemRoot", "SystemDrive", "windir", "ComSpec", "PATHEXT"];

/// Turns on escape sequences in the console; false if there is none.
pub fn enable_colors() -> bool {
    [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].into_iter().any(|stream| {
        let mut mode = 0;
        // SAFETY: no pointers; the process keeps the returned handle.
        let console = unsafe { GetStdHandle(stream) };
        // SAFETY: the call fails for other handles; the pointer is valid.
        let is_console = unsafe { GetConsoleMode(console, &raw mut mode) } != 0;
        // SAFETY: the handle is a console's.
        is_console && unsafe { SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) } != 0
    })
}

/// Whether this process has a standard error stream. A service starts without one.
pub fn has_standard_error() -> bool {
    // SAFETY: no pointers.
    let handle = unsafe { GetStdHandle(STD_ERROR_HANDLE) };
    !handle.is_null() && handle != INVALID_HANDLE_VALUE
}

/// Always `None`: a program file on Windows grants no rights, unlike setuid on Unix.
pub fn borrowed_rights() -> io::Result<Option<String>> {
    Ok(None)
}

/// Whether this process runs with administrator rights (elevated).
pub fn is_privileged() -> bool {
    super::names::administrators().is_ok_and(|group| {
        let mut member = 0;
        // SAFETY: null means the token of this thread; the SID lives through the call.
        let asked = unsafe {
            CheckTokenMembership(std::ptr::null_mut(), group.as_ptr().cast_mut().cast(), &raw mut member)
        };
        asked != 0 && member != 0
    })
}

/// `LocalSystem` if programs without a user would run as this account.
pub fn dangerous_own_identity() -> Option<&'static str> {
    token::own()
        .ok()
        .filter(|token| token::is(token, WinLocalSystemSid))
        .map(|_| super::CAPABILITIES.all_rights)
}

pub use super::bind::stdio_fault;
