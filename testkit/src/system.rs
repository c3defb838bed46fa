//! What tests need of each system.

pub use imp::*;

#[cfg(unix)]
mod imp {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::process::{Child, Command};

    /// Nothing is needed for SIGINT.
    pub fn can_be_interrupted(_: &mut Command) {}

    /// Asks a process to stop.
    pub fn interrupt(child: &Child) {
        let pid = libc::pid_t::try_from(child.id()).expect("a process");
        // SAFETY: no pointers; the process is our child and not reaped.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }

    /// Waits a second at most for somebody to connect.
    pub fn wait_readable(listener: &TcpListener) {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid structure.
        unsafe { libc::poll(&raw mut poll, 1, 1000) };
    }
}

#[cfg(windows)]
mod imp {
    use std::net::TcpListener;
    use std::os::windows::io::AsRawSocket;
    use std::os::windows::process::CommandExt;
    use std::process::{Child, Command};

    use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, WSAPOLLFD, WSAPoll};
    use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};
    use windows_sys::Win32::System::Threading::CREATE_NEW_PROCESS_GROUP;

    /// Ctrl-Break goes to a process group: one of its own.
    pub fn can_be_interrupted(command: &mut Command) {
        command.creation_flags(CREATE_NEW_PROCESS_GROUP);
    }

    /// Asks a process to stop.
    pub fn interrupt(child: &Child) {
        // SAFETY: no pointers.
        let sent = unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, child.id()) };
        assert!(sent != 0, "Ctrl-Break: {}", std::io::Error::last_os_error());
    }

    /// Waits a second at most for somebody to connect.
    pub fn wait_readable(listener: &TcpListener) {
        let mut poll = WSAPOLLFD { fd: listener.as_raw_socket() as usize, events: POLLRDNORM, revents: 0 };
        // SAFETY: one valid structure.
        unsafe { WSAPoll(&raw mut poll, 1, 1000) };
    }
}
