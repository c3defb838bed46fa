//! Runs a tool such as netsh without handles: a spawn thread may hold inheritable connections.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, CreateProcessW, GetExitCodeProcess, PROCESS_INFORMATION, STARTUPINFOW,
    TerminateProcess, WaitForSingleObject,
};

use super::directories::system_directory;
use super::handle::{check, size, wide};

const PATIENCE_MILLISECONDS: u32 = 30_000;

/// Runs a program of System32 and returns its exit code. Terminates it after 30 seconds.
pub fn run(name: &str, arguments: &str) -> io::Result<u32> {
    let program = system_directory().join(name);
    let mut line = wide(format!("\"{}\" {arguments}", program.display()));
    let (program, directory) = (wide(program), wide(system_directory()));
    // SAFETY: the strings are NUL-terminated and outlive the call. The command line is writable,
    // zeroes with the size are a valid STARTUPINFOW, and the returned handles are new.
    unsafe {
        let mut startup: STARTUPINFOW = std::mem::zeroed();
        startup.cb = size::<STARTUPINFOW>();
        let mut made: PROCESS_INFORMATION = std::mem::zeroed();
        check(CreateProcessW(
            program.as_ptr(),
            line.as_mut_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            0,
            CREATE_NO_WINDOW,
            std::ptr::null(),
            directory.as_ptr(),
            &raw const startup,
            &raw mut made,
        ))?;
        drop(OwnedHandle::from_raw_handle(made.hThread));
        let process = OwnedHandle::from_raw_handle(made.hProcess);
        if WaitForSingleObject(process.as_raw_handle(), PATIENCE_MILLISECONDS) != WAIT_OBJECT_0 {
            TerminateProcess(process.as_raw_handle(), 1);
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end in 30 seconds"));
        }
        let mut code = 0;
        check(GetExitCodeProcess(process.as_raw_handle(), &raw mut code))?;
        Ok(code)
    }
}
