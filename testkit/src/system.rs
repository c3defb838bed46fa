//! What tests need of each system.

pub use imp::*;

#[cfg(unix)]
mod imp {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::time::Duration;

    /// How a test asks a daemon to stop: by a signal.
    #[derive(Debug)]
    pub struct Interrupt;

    impl Interrupt {
        /// For a daemon that is about to be started.
        pub fn of(_: &mut Command) -> Interrupt {
            Interrupt
        }

        /// Asks it to stop.
        pub fn send(&self, child: &Child) {
            let pid = libc::pid_t::try_from(child.id()).expect("a process");
            // SAFETY: no pointers; the process is our child and not reaped.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }

    /// Copies a program so that it can be started at once. By a process of its
    /// own: a descriptor that this one writes with would be in every process that
    /// another test starts meanwhile, and a file that is written can't be executed.
    pub fn copy_program(from: &Path, to: &Path) {
        let copied = Command::new("cp").arg(from).arg(to).status().expect("cp runs");
        assert!(copied.success(), "a copy of {}", from.display());
    }

    /// Waits a second at most for somebody to connect.
    pub fn wait_readable(listener: &TcpListener) {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid structure.
        unsafe { libc::poll(&raw mut poll, 1, 1000) };
    }

    /// Has a program begin with the default actions of signals that end programs. A shell
    /// ignores some of them for what it starts in the background, as nohup does, and an
    /// ignored signal stays ignored.
    pub fn with_default_signals(command: &mut Command) -> &mut Command {
        let reset = || {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                // SAFETY: the call is async-signal-safe.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: all that the closure calls is async-signal-safe.
        unsafe { command.pre_exec(reset) }
    }

    /// Starts a program.
    pub fn start(command: &mut Command) -> std::io::Result<Child> {
        with_default_signals(command).spawn()
    }

    /// Whether a server that is started here has all rights.
    pub fn has_all_rights() -> bool {
        // SAFETY: no preconditions.
        unsafe { libc::geteuid() == 0 }
    }

    /// Whether this Windows is none.
    pub fn is_wine() -> bool {
        false
    }

    /// Waits so long at most for room to write; whether there is some.
    pub fn wait_writable(stream: &TcpStream, time: Duration) -> bool {
        wait(stream, libc::POLLOUT, time)
    }

    /// Waits so long at most until it can be read, or written as well.
    #[cfg(feature = "tls")]
    pub fn wait_ready(stream: &TcpStream, writes: bool, time: Duration) {
        wait(stream, if writes { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN }, time);
    }

    fn wait(stream: &TcpStream, events: libc::c_short, time: Duration) -> bool {
        let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events, revents: 0 };
        let time = libc::c_int::try_from(time.as_millis()).expect("a short time");
        // SAFETY: one valid structure.
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

    /// How a test asks a daemon to stop. A console that both share, for
    /// Ctrl-Break, can't be had everywhere; a named semaphore can.
    #[derive(Debug)]
    pub struct Interrupt {
        semaphore: OwnedHandle,
    }

    impl Interrupt {
        /// For a daemon that is about to be started.
        pub fn of(command: &mut Command) -> Interrupt {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("wininetd-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            command.env("WININETD_TEST_STOP", &name);
            let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
            // SAFETY: the name ends with zero; the handle is new and ours.
            let semaphore = unsafe {
                let handle = CreateSemaphoreW(std::ptr::null(), 0, 100, name.as_ptr());
                assert!(!handle.is_null(), "a semaphore: {}", std::io::Error::last_os_error());
                OwnedHandle::from_raw_handle(handle)
            };
            Interrupt { semaphore }
        }

        /// Asks it to stop.
        pub fn send(&self, _: &Child) {
            // SAFETY: the handle is a semaphore; a null count is not written.
            let sent = unsafe { ReleaseSemaphore(self.semaphore.as_raw_handle(), 1, std::ptr::null_mut()) };
            assert!(sent != 0, "a request to stop: {}", std::io::Error::last_os_error());
        }
    }

    /// Copies a program so that it can be started.
    pub fn copy_program(from: &Path, to: &Path) {
        std::fs::copy(from, to).expect("a copy of a program");
    }

    /// Waits a second at most for somebody to connect.
    pub fn wait_readable(listener: &TcpListener) {
        let mut poll = WSAPOLLFD { fd: listener.as_raw_socket() as usize, events: POLLRDNORM, revents: 0 };
        // SAFETY: one valid structure.
        unsafe { WSAPoll(&raw mut poll, 1, 1000) };
    }

    /// Starts a program. Wine has an internal error where one that it started is slow to
    /// begin, and has ended it: then once more.
    pub fn start(command: &mut Command) -> std::io::Result<Child> {
        const ERROR_INTERNAL_ERROR: i32 = 1359;
        match command.spawn() {
            Err(error) if error.raw_os_error() == Some(ERROR_INTERNAL_ERROR) => command.spawn(),
            started => started,
        }
    }

    /// Whether a server that is started here has all rights: as LocalSystem, whose
    /// name is the computer's.
    pub fn has_all_rights() -> bool {
        std::env::var("USERNAME").is_ok_and(|name| name.ends_with('$'))
    }

    /// Whether this Windows is Wine.
    pub fn is_wine() -> bool {
        // SAFETY: the names end with zero; ntdll is in every process.
        unsafe {
            let ntdll = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
            GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()).is_some()
        }
    }

    /// Waits so long at most for room to write; whether there is some.
    pub fn wait_writable(stream: &TcpStream, time: Duration) -> bool {
        wait(stream, POLLWRNORM, time)
    }

    /// Waits so long at most until it can be read, or written as well.
    #[cfg(feature = "tls")]
    pub fn wait_ready(stream: &TcpStream, writes: bool, time: Duration) {
        wait(stream, if writes { POLLRDNORM | POLLWRNORM } else { POLLRDNORM }, time);
    }

    fn wait(stream: &TcpStream, events: i16, time: Duration) -> bool {
        let mut poll = WSAPOLLFD { fd: stream.as_raw_socket() as usize, events, revents: 0 };
        let time = i32::try_from(time.as_millis()).expect("a short time");
        // SAFETY: one valid structure.
        unsafe { WSAPoll(&raw mut poll, 1, time) > 0 }
    }
}
