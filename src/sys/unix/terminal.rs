//! The terminals of `--run`: the program gets one of its own.
//!
//! The caller's process stays at the caller's terminal and relays bytes (`terminal_relay`). A
//! second process, the runner, leads a new session and starts the program. No process of the
//! program has the caller's terminal. So none can insert input (TIOCSTI), or read what the caller
//! types later.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::super::fault;
use super::account::Account;
use super::check;
use super::terminal_relay::TerminalRelay;
use super::terminal_signals::set_mask;
use crate::model::exit_status::ExitStatus;

struct Pty {
    relay: OwnedFd,
    program: OwnedFd,
}

/// Returns `None` in the new runner, and its exit status in the caller's process. Must be called
/// before any other thread exists.
pub fn separate() -> io::Result<Option<ExitStatus>> {
    let streams: Vec<c_int> = (0..3).filter(|&stream| is_terminal(stream)).collect();
    let pty = streams.first().map(|&terminal| Pty::like(terminal)).transpose()?;
    fault::point("run-fork", fault::Says::Processes)?;
    // Blocked until the relay handles signals. The program may run before that.
    set_mask(true)?;
    // SAFETY: no other thread exists, so the child is a whole copy.
    let runner = check(unsafe { libc::fork() })?;
    if runner == 0 {
        set_mask(false)?;
        lead_session(pty, &streams)?;
        return Ok(None);
    }
    // Only the runner holds the program's end, so the last close is an event.
    let relay = pty.map(|pty| pty.relay);
    TerminalRelay::new(runner, relay, &streams)?.run().map(Some)
}

impl Pty {
    fn like(terminal: c_int) -> io::Result<Pty> {
        fault::point("pty", fault::Says::Descriptors)?;
        let (mut relay, mut program) = (-1, -1);
        // SAFETY: zeroes are valid values, the pointers are valid, and both descriptors are new.
        unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            let mut size: libc::winsize = std::mem::zeroed();
            check(libc::tcgetattr(terminal, &raw mut modes))?;
            let _ = libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size);
            if !is_terminal(0) {
                // Without keyboard input the caller's terminal stays cooked and processes the
                // output itself.
                modes.c_oflag &= !libc::OPOST;
            }
            check(libc::openpty(
                &raw mut relay,
                &raw mut program,
                std::ptr::null_mut(),
                &raw mut modes,
                &raw mut size,
            ))?;
            for descriptor in [relay, program] {
                libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            Ok(Pty { relay: OwnedFd::from_raw_fd(relay), program: OwnedFd::from_raw_fd(program) })
        }
    }
}

fn lead_session(pty: Option<Pty>, streams: &[c_int]) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: no pointers. If the relay dies, the kernel asks the runner to end.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
    }
    // SAFETY: no pointers; all descriptors are open.
    unsafe {
        check(libc::setsid())?;
        let Some(pty) = pty else { return Ok(()) };
        let program = pty.program.as_raw_fd();
        #[allow(clippy::useless_conversion)] // the type of a request differs
        check(libc::ioctl(program, libc::TIOCSCTTY.into(), 0))?;
        for &stream in streams {
            check(libc::dup2(program, stream))?;
        }
    }
    Ok(())
}

/// A standard stream at the terminal of the session that this process leads.
pub(super) fn own_stream() -> Option<c_int> {
    // SAFETY: no pointers; tcgetsid fails if the stream is not a terminal.
    (0..3).find(|&stream| unsafe { libc::tcgetsid(stream) == libc::getpid() })
}

pub(super) fn continue_foreground() {
    let Some(stream) = own_stream() else { return };
    // SAFETY: no pointers. In our own session SIGCONT needs no rights, see kill(2).
    unsafe {
        let group = libc::tcgetpgrp(stream);
        if group > 1 && group != libc::getpgrp() {
            libc::kill(-group, libc::SIGCONT);
        }
    }
}

/// Lets the program open its terminal by name.
pub(super) fn give_to(account: &Account) -> io::Result<()> {
    let Some(stream) = own_stream() else { return Ok(()) };
    // SAFETY: no pointers; -1 keeps the group.
    check(unsafe { libc::fchown(stream, account.uid, libc::gid_t::MAX) }).map(drop)
}

fn is_terminal(stream: c_int) -> bool {
    // SAFETY: no pointers.
    unsafe { libc::isatty(stream) == 1 }
}
