//! A running program on Linux: waited for by its pidfd, which no other
//! process can come to mean, and ended with all of its session.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::super::Exit;
use super::{check, orphans, poll};

/// A program that was started, until it is reaped.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Child {
    pub(super) fn new(pid: libc::pid_t, pidfd: OwnedFd) -> Self {
        Child { pid, pidfd, reaped: false }
    }

    /// The process number, for people.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits for the program's end, ends what is left of its session, and
    /// tells how the program ended. It is reaped last: until then its number,
    /// which is the session's, can't come to mean another process.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        {
            let ready = poll::watch(self.pidfd.as_fd())?;
            // Dropped before the descriptor is closed: a pidfd that is ready
            // must leave the poll set first.
            let _ = ready.readable().await?;
        }
        orphans::end_session(self.pid).await;
        let exit = reap_pidfd(&self.pidfd);
        self.reaped = true;
        exit
    }

    /// Ends the program's tree now; `wait` then returns.
    pub fn end_tree(&self) {
        if !self.reaped {
            // SAFETY: no pointers. The number is ours while the child is not reaped.
            unsafe { libc::kill(-self.pid, libc::SIGKILL) };
        }
    }
}

impl Drop for Child {
    /// A session that is dropped in the middle (the server stops) must not
    /// leave its program running.
    fn drop(&mut self) {
        self.end_tree();
    }
}

/// Takes the exit status of a child that has ended.
pub(super) fn reap_pidfd(pidfd: &OwnedFd) -> io::Result<Exit> {
    let number = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    reap(libc::P_PIDFD, number, libc::WEXITED)?.ok_or_else(|| io::Error::other("the program has not ended"))
}

/// waitid for one child: `None` if it has not ended and `flags` say not to wait.
pub(super) fn reap(kind: libc::idtype_t, id: libc::id_t, flags: libc::c_int) -> io::Result<Option<Exit>> {
    // SAFETY: zeroes are a valid siginfo, and what "nothing ended" looks like.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for the call.
    while let Err(error) = check(unsafe { libc::waitid(kind, id, &raw mut info, flags) }) {
        // A child that is not reaped for a signal's sake stays for ever.
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: waitid has filled in the fields of a SIGCHLD, or left zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => Exit::Code(status.unsigned_abs()),
        _ => Exit::Signal(status),
    }))
}

/// Reaps what programs left behind and what has ended since. True if some of
/// it still runs, so that it should be asked for again.
pub fn reap_orphans() -> bool {
    orphans::reap_ended()
}
