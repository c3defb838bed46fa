//! What the probe finds on Windows.

use std::process::{Command, Stdio};

use windows_sys::Win32::Foundation::{CloseHandle, GetHandleInformation, HANDLE};
use windows_sys::Win32::Networking::WinSock::getsockname;
use windows_sys::Win32::System::Console::{GetStdHandle, STD_INPUT_HANDLE};

pub fn crash() {
    // SAFETY: none; that is the point.
    unsafe { std::ptr::null_mut::<u8>().write_volatile(0) };
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

pub fn state() -> String {
    String::new()
}

pub fn capabilities() -> String {
    String::new()
}
