//! What the probe finds on Windows.

use std::process::{Command, Stdio};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{CloseHandle, GetHandleInformation, HANDLE};
use windows_sys::Win32::Networking::WinSock::getsockname;
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
};

pub fn crash() {
    // SAFETY: none; that is the point.
    unsafe { null_mut::<u8>().write_volatile(0) };
}

/// The sockets among all handles, as their count.
pub fn handles() -> String {
    // Winsock wants to be started.
    drop(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let sockets = (4..0x4000usize).step_by(4).filter(|&value| {
        let (mut flags, mut address, mut length) = (0, [0u64; 16], 128);
        // SAFETY: asks about a handle, which need not exist; the buffer is as
        // long as is said, and aligned for any address.
        unsafe {
            GetHandleInformation(value as HANDLE, &raw mut flags) != 0
                && getsockname(value, address.as_mut_ptr().cast(), &raw mut length) == 0
        }
    });
    let count = sockets.count();
    (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

pub fn close_input() {
    // SAFETY: nothing of the probe owns its standard input's handle.
    unsafe { CloseHandle(GetStdHandle(STD_INPUT_HANDLE)) };
}

/// A write that nobody can read is an error only.
pub fn default_broken_pipe() {}

pub fn close_output() {
    // SAFETY: nothing of the probe owns its standard output's handle.
    unsafe { CloseHandle(GetStdHandle(STD_OUTPUT_HANDLE)) };
}

pub fn close_streams() {
    for stream in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: nothing of the probe owns these.
        unsafe { CloseHandle(GetStdHandle(stream)) };
    }
}

/// What may be done with each of the three streams: nothing is moved, yet
/// the system asks first whether it might be.
pub fn directions() -> String {
    let words = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].map(|stream| {
        let (mut none, mut moved) = ([0u8; 0], 0);
        // SAFETY: no byte is read or written.
        unsafe {
            let handle = GetStdHandle(stream);
            let writes = WriteFile(handle, none.as_ptr(), 0, &raw mut moved, null_mut()) != 0;
            // A read that is allowed would wait.
            let reads = !writes || ReadFile(handle, none.as_mut_ptr(), 0, &raw mut moved, null_mut()) != 0;
            match (reads, writes) {
                (true, true) => "both",
                (true, false) => "reads",
                (false, _) => "writes",
            }
        }
    });
    words.join(" ")
}

/// Who is in the job stays in it.
pub fn start_adrift_with_streams(command: &mut Command) {
    start_beside(command).unwrap();
}

#[allow(clippy::zombie_processes)] // the server is to find it, whatever the probe does
pub fn start_beside(command: &mut Command) -> std::io::Result<()> {
    let quiet = || Stdio::null();
    command.stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().map(drop)
}

pub fn start_adrift(command: &mut Command) {
    start_beside(command).unwrap();
}

/// Nobody asks politely here.
pub fn ignore_polite_end() {}

/// Not asked here: Wine does not tell it to the process that has inherited a socket.
pub fn nodelay() -> bool {
    false
}

pub fn state() -> String {
    String::new()
}

/// Windows has no keyrings of sessions.
pub fn keys(_: &str, _: &str) -> String {
    String::new()
}

pub fn capabilities() -> String {
    String::new()
}
