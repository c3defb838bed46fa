//! As process 1 of a container nobody stands above us: every orphan becomes our
//! child, and signals without a handler do nothing. So the first process starts
//! the server as its child and stays a small init that passes signals on and
//! reaps.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check;

/// This process is the server below our own init.
static BELOW_INIT: AtomicBool = AtomicBool::new(false);

/// Whether the process with this number is our init, which was meant to be us.
pub(super) fn stands_for(pid: u32) -> bool {
    pid == 1 && BELOW_INIT.load(Ordering::Relaxed)
}

/// Signals that are passed on to the server.
const PASSED: [libc::c_int; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// As process 1, starts the server as a child and returns its exit code once
/// it has ended; everywhere else, and in that child, returns at once. Must be
/// called before there is any other thread.
pub fn stay_if_first() -> io::Result<Option<u8>> {
    if std::process::id() != 1 {
        return Ok(None);
    }
    let signals = blocked()?;
    // SAFETY: there is no other thread, so the child is a whole copy of us.
    let server = check(unsafe { libc::fork() })?;
    if server == 0 {
        BELOW_INIT.store(true, Ordering::Relaxed);
        // Ctrl-C reaches the terminal's group: the init alone, which passes it
        // on. Twice would mean "without the grace".
        // SAFETY: no pointers.
        unsafe { libc::setpgid(0, 0) };
        // The signals that are blocked here are unblocked by `process::prepare`,
        // after which handlers are in place; until then they wait.
        return Ok(None);
    }
    // Sockets that were passed are the server's; held here too, they would stay
    // open when it has closed them.
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

/// Blocks what the init waits for, so that nothing is lost before it does.
fn blocked() -> io::Result<libc::sigset_t> {
    // SAFETY: the set is made empty before it is used; no other thread is there.
    unsafe {
        let mut signals: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        for signal in PASSED.into_iter().chain([libc::SIGCHLD]) {
            libc::sigaddset(&raw mut signals, signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()))?;
        // Ignored by whoever started us, a SIGCHLD would never come.
        let default: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(libc::SIGCHLD, &raw const default, std::ptr::null_mut()))?;
        Ok(signals)
    }
}

/// Reaps whatever has ended; the server's exit code, if it was among it. A
/// signal counts from 128, as shells say it.
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
