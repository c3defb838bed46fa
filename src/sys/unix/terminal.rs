//! The terminals of `--run`: the program gets one of its own.
//!
//! The process that the caller started stays at the caller's terminal and
//! relays bytes (`terminal_relay`). A second process, the runner, leads a new
//! session, starts the program and waits for it. No process of the program has
//! the caller's terminal: none can put keys into its input (TIOCSTI), and none
//! can read what the caller types later.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::super::fault;
use super::account::Account;
use super::check;
use super::terminal_relay::TerminalRelay;
use super::terminal_signals::set_mask;
use crate::model::exit_status::ExitStatus;

/// Both ends of a new terminal.
struct Pty {
    /// The end of the relay.
    relay: OwnedFd,
    /// The end that is the program's terminal.
    program: OwnedFd,
}

/// Separates the rest of this process from the caller's terminal. Returns
/// `None` in the runner. The caller's process returns once the runner has ended,
/// with the way it ended. There must be no other thread.
pub fn separate() -> io::Result<Option<ExitStatus>> {
    let streams: Vec<c_int> = (0..3).filter(|&stream| is_terminal(stream)).collect();
    let pty = streams.first().map(|&terminal| Pty::like(terminal)).transpose()?;
    fault::point("run-fork", fault::Says::Processes)?;
    // Until the relay handles them: the program may run before that.
    set_mask(true)?;
    // SAFETY: there is no other thread, so the child is a whole copy.
    let runner = check(unsafe { libc::fork() })?;
    if runner == 0 {
        set_mask(false)?;
        lead_session(pty, &streams)?;
        return Ok(None);
    }
    // The relay does not hold the program's end: its last close is an event.
    let relay = pty.map(|pty| pty.relay);
    TerminalRelay::new(runner, relay, &streams)?.run().map(Some)
}

impl Pty {
    /// A terminal with the modes and the size of this one.
    fn like(terminal: c_int) -> io::Result<Pty> {
        fault::point("pty", fault::Says::Descriptors)?;
        let (mut relay, mut program) = (-1, -1);
        // SAFETY: zeroes are valid values of both types, and all pointers are valid
        // for their calls. Both descriptors that come back are new and ours.
        unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            let mut size: libc::winsize = std::mem::zeroed();
            check(libc::tcgetattr(terminal, &raw mut modes))?;
            // A terminal without a size has zeroes.
            let _ = libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size);
            if !is_terminal(0) {
                // Without keys to read, the caller's terminal keeps its own output modes.
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

/// Leads a session of its own, in which the pty is the terminal and takes the place
/// of the caller's. Other streams stay what they are.
fn lead_session(pty: Option<Pty>, streams: &[c_int]) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: no pointers. Without the relay the runner ends as if it was asked to.
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

/// A stream that is the terminal of the session that this process leads.
pub(super) fn own_stream() -> Option<c_int> {
    // SAFETY: no pointers; what is no terminal has no session.
    (0..3).find(|&stream| unsafe { libc::tcgetsid(stream) == libc::getpid() })
}

/// Continues the process group that has the keys of our terminal, if it is not ours.
pub(super) fn continue_foreground() {
    let Some(stream) = own_stream() else { return };
    // SAFETY: no pointers. A group of our session: its account does not matter.
    unsafe {
        let group = libc::tcgetpgrp(stream);
        if group > 1 && group != libc::getpgrp() {
            libc::kill(-group, libc::SIGCONT);
        }
    }
}

/// Makes the terminal of this session the account's, so that the program can
/// open it by its name.
pub(super) fn give_to(account: &Account) -> io::Result<()> {
    let Some(stream) = own_stream() else { return Ok(()) };
    // SAFETY: no pointers; -1 keeps the group.
    check(unsafe { libc::fchown(stream, account.uid, libc::gid_t::MAX) }).map(drop)
}

fn is_terminal(stream: c_int) -> bool {
    // SAFETY: no pointers.
    unsafe { libc::isatty(stream) == 1 }
}
