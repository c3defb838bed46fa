//! Helpers that differ between operating systems.

pub use imp::*;

#[cfg(unix)]
mod imp {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::time::Duration;

    /// Asks a daemon to stop, with SIGTERM.
    #[derive(Debug)]
    pub struct Interrupt;

    impl Interrupt {
        pub fn of(_: &mut Command) -> Interrupt {
            Interrupt
        }

        pub fn send(&self, child: &Child) {
            let pid = libc::pid_t::try_from(child.id()).expect("a process");
            // SAFETY: no pointers. The process is a child and not reaped.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }

    /// Copies a program so that it can be executed at once. The copy runs in `cp`, not in this
    /// process. A program that another test starts meanwhile would inherit a descriptor open for
    /// writing, and exec fails (ETXTBSY) while one exists.
    pub fn copy_program(from: &Path, to: &Path) {
        let copied = Command::new("cp").arg(from).arg(to).status().expect("cp runs");
        assert!(copied.success(), "a copy of {}", from.display());
    }

    pub fn wait_readable(listener: &TcpListener) {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the pointer is to one valid structure.
        unsafe { libc::poll(&raw mut poll, 1, 1000) };
    }

    /// Starts a program with the default actions of the signals that terminate programs. A shell
    /// ignores some of them for background jobs, and nohup ignores SIGHUP. A signal that is ignored
    /// stays ignored after exec.
    pub fn with_default_signals(command: &mut Command) -> &mut Command {
        let reset = || {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                // SAFETY: the call is async-signal-safe.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: the closure calls only async-signal-safe functions.
        unsafe { command.pre_exec(reset) }
    }

    pub fn start(command: &mut Command) -> std::io::Result<Child> {
        with_default_signals(command).spawn()
    }

    /// Whether the tests, and so the server, run as root.
    pub fn has_all_rights() -> bool {
        // SAFETY: no preconditions.
        unsafe { libc::geteuid() == 0 }
    }

    pub fn is_wine() -> bool {
        false
    }

    pub fn wait_writable(stream: &TcpStream, time: Duration) -> bool {
        wait(stream, libc::POLLOUT, time)
    }

    /// Waits at most this long until the stream is readable, or writable if `writes` is set.
    #[cfg(feature = "tls")]
    pub fn wait_ready(stream: &TcpStream, writes: bool, time: Duration) {
        wait(stream, if writes { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN }, time);
    }

    fn wait(stream: &TcpStream, events: libc::c_short, time: Duration) -> bool {
        let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events, revents: 0 };
        let time = libc::c_int::try_from(time.as_millis()).expect("a short time");
        // SAFETY: the pointer is to one valid structure.
        unsafe { libc::poll(&raw mut poll, 1, time) > 0 }
    }
}

#[cfg(windows)]
mod imp {
    use std::net::{TcpListener, TcpStream};
    use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle};
    use std::path::Path;
    use std::process::{Child, Command};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, POLLWRNORM, WSAPOLLFD, WSAPoll};
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
    use windows_sys::Win32::System::Threading::{CreateSemaphoreW, ReleaseSemaphore};

    /// Asks a daemon to stop, with a named semaphore. Ctrl-Break needs a shared console, which not
    /// every environment has.
    #[derive(Debug)]
    pub struct Interrupt {
        semaphore: OwnedHandle,
    }

    impl Interrupt {
        pub fn of(command: &mut Command) -> Interrupt {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("wininetd-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            command.env("WININETD_TEST_STOP", &name);
            let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
            // SAFETY: the name ends with NUL. The handle is new and owned here.
            let semaphore = unsafe {
                let handle = CreateSemaphoreW(std::ptr::null(), 0, 100, name.as_ptr());
                assert!(!handle.is_null(), "a semaphore: {}", std::io::Error::last_os_error());
                OwnedHandle::from_raw_handle(handle)
            };
            Interrupt { semaphore }
        }

        pub fn send(&self, _: &Child) {
            // SAFETY: the handle is a semaphore. The call does not write to a null count.
            let sent = unsafe { ReleaseSemaphore(self.semaphore.as_raw_handle(), 1, std::ptr::null_mut()) };
            assert!(sent != 0, "a request to stop: {}", std::io::Error::last_os_error());
        }
    }

    pub fn copy_program(from: &Path, to: &Path) {
        std::fs::copy(from, to).expect("a copy of a program");
    }

    pub fn wait_readable(listener: &TcpListener) {
        let mut poll = WSAPOLLFD { fd: listener.as_raw_socket() as usize, events: POLLRDNORM, revents: 0 };
        // SAFETY: the pointer is to one valid structure.
        unsafe { WSAPoll(&raw mut poll, 1, 1000) };
    }

    /// Starts a program. Wine fails with an internal error, and terminates the new process, if that
    /// process begins slowly. The call then tries once more.
    pub fn start(command: &mut Command) -> std::io::Result<Child> {
        const ERROR_INTERNAL_ERROR: i32 = 1359;
        match command.spawn() {
            Err(error) if error.raw_os_error() == Some(ERROR_INTERNAL_ERROR) => command.spawn(),
            started => started,
        }
    }

    /// Whether the tests run as LocalSystem, whose user name is that of the computer account.
    pub fn has_all_rights() -> bool {
        std::env::var("USERNAME").is_ok_and(|name| name.ends_with('$'))
    }

    pub fn is_wine() -> bool {
        // SAFETY: the names end with NUL, and every process has loaded ntdll.
        unsafe {
            let ntdll = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
            GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()).is_some()
        }
    }

    pub fn wait_writable(stream: &TcpStream, time: Duration) -> bool {
        wait(stream, POLLWRNORM, time)
    }

    /// Waits at most this long until the stream is readable, or writable if `writes` is set.
    #[cfg(feature = "tls")]
    pub fn wait_ready(stream: &TcpStream, writes: bool, time: Duration) {
        wait(stream, if writes { POLLRDNORM | POLLWRNORM } else { POLLRDNORM }, time);
    }

    fn wait(stream: &TcpStream, events: i16, time: Duration) -> bool {
        let mut poll = WSAPOLLFD { fd: stream.as_raw_socket() as usize, events, revents: 0 };
        let time = i32::try_from(time.as_millis()).expect("a short time");
        // SAFETY: the pointer is to one valid structure.
        unsafe { WSAPoll(&raw mut poll, 1, time) > 0 }
    }
}
