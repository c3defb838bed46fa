//! Signals of the relay of `--run`: a handler writes their numbers into a pipe.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use super::check;

static SIGNALS: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(signal: c_int) {
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write is async-signal-safe, the pointer is to one byte, and the pipe never blocks.
    unsafe { libc::write(SIGNALS.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

pub(super) fn write_to(pipe: File) {
    // Never closed: the handler may run as long as this process.
    SIGNALS.store(pipe.into_raw_fd(), Ordering::Relaxed);
}

pub(super) fn notice(signal: c_int) -> io::Result<()> {
    set_action(signal, note as *const () as libc::sighandler_t)
}

pub(super) fn take_default(signal: c_int) -> io::Result<()> {
    set_action(signal, libc::SIG_DFL)
}

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

/// Without SA_RESTART: the signal interrupts a call that waits.
fn set_action(signal: c_int, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: zeroes are an empty mask and no flags; the handler is async-signal-safe.
    unsafe {
        let mut wanted: libc::sigaction = std::mem::zeroed();
        wanted.sa_sigaction = action;
        check(libc::sigaction(signal, &raw const wanted, std::ptr::null_mut())).map(drop)
    }
}

pub(super) fn is_ignored(signal: c_int) -> bool {
    // SAFETY: zeroes are a valid sigaction to be overwritten, and asking changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
