//! Signals of the process that relays between two terminals (`--run`): a handler writes
//! their numbers into a pipe.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use super::check;

/// Where the handler writes the numbers of signals.
static SIGNALS: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(signal: c_int) {
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write is async-signal-safe, and the pointer is to one byte. A full pipe
    // does not block: it holds news enough.
    unsafe { libc::write(SIGNALS.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

/// From now on signals that are noticed come out of the other end of this pipe.
pub(super) fn write_to(pipe: File) {
    // The handler may run as long as this process.
    SIGNALS.store(pipe.into_raw_fd(), Ordering::Relaxed);
}

/// Has the handler note this signal.
pub(super) fn notice(signal: c_int) -> io::Result<()> {
    set_action(signal, note as *const () as libc::sighandler_t)
}

/// Gives a signal its default action back.
pub(super) fn take_default(signal: c_int) -> io::Result<()> {
    set_action(signal, libc::SIG_DFL)
}

/// Blocks all signals, or none.
pub(super) fn set_mask(all: bool) -> io::Result<()> {
    // SAFETY: the set is valid once it is filled or emptied; this process has one thread.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        if all {
            libc::sigfillset(&raw mut mask);
        } else {
            libc::sigemptyset(&raw mut mask);
        }
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut())).map(drop)
    }
}

/// Sets what a signal does. A call that waits is interrupted by it.
fn set_action(signal: c_int, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: zeroes are a valid sigaction with an empty mask and no flags; the handler
    // is async-signal-safe.
    unsafe {
        let mut wanted: libc::sigaction = std::mem::zeroed();
        wanted.sa_sigaction = action;
        check(libc::sigaction(signal, &raw const wanted, std::ptr::null_mut())).map(drop)
    }
}

/// Whether the signal was ignored when this process began.
pub(super) fn is_ignored(signal: c_int) -> bool {
    // SAFETY: zeroes are a valid sigaction to be overwritten, and asking changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
