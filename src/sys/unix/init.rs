//! As process 1 of a container we inherit all orphans, and signals without a handler do nothing. So
//! the first process forks the server and stays a small init.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check;

static BELOW_INIT: AtomicBool = AtomicBool::new(false);

/// Whether this pid is our own init. A service manager that names it means the server.
pub(super) fn stands_for(pid: u32) -> bool {
    pid == 1 && BELOW_INIT.load(Ordering::Relaxed)
}

const PASSED: [libc::c_int; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// In process 1, returns the server's exit code once it has ended. Elsewhere, and in the server,
/// returns `None` at once. No other thread may exist.
pub fn stay_if_first() -> io::Result<Option<u8>> {
    if std::process::id() != 1 {
        return Ok(None);
    }
    let signals = blocked()?;
    // SAFETY: no other thread exists, so the child is a whole copy.
    let server = check(unsafe { libc::fork() })?;
    if server == 0 {
        BELOW_INIT.store(true, Ordering::Relaxed);
        // Ctrl-C must reach the init only, which passes it on. Twice would skip the grace period.
        // SAFETY: no pointers.
        unsafe { libc::setpgid(0, 0) };
        // The signals stay blocked, and pending, until `process::prepare`.
        return Ok(None);
    }
    // Inherited sockets belong to the server. Open here too, they would outlive the server's close.
    super::close::close_from(3);
    loop {
        let mut signal = 0;
        // SAFETY: both pointers are to valid values of this frame.
        if unsafe { libc::sigwait(&raw const signals, &raw mut signal) } != 0 {
            continue;
        }
        if signal == libc::SIGCHLD {
            if let Some(code) = reap(server) {
                return Ok(Some(code));
            }
        } else {
            // SAFETY: no pointers; the server is our child and not reaped yet.
            unsafe { libc::kill(server, signal) };
        }
    }
}

fn blocked() -> io::Result<libc::sigset_t> {
    // SAFETY: the set is emptied before use; no other thread exists.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        for signal in PASSED.into_iter().chain([libc::SIGCHLD]) {
            libc::sigaddset(&raw mut signals, signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()))?;
        // If our starter ignored SIGCHLD, it would never come.
        let default: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(libc::SIGCHLD, &raw const default, std::ptr::null_mut()))?;
        Ok(signals)
    }
}

/// A death by signal gives 128 plus its number, as in shells.
fn reap(server: libc::pid_t) -> Option<u8> {
    let mut code = None;
    loop {
        let mut status = 0;
        // SAFETY: the pointer is valid for the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            return code;
        }
        if pid == server {
            let number = if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                128 + libc::WTERMSIG(status)
            };
            code = Some(u8::try_from(number).unwrap_or(u8::MAX));
        }
    }
}
