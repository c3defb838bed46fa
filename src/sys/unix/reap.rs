//! The exit status of a child by waitid.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::check;
use crate::model::exit_status::ExitStatus;

pub(super) fn reap_pidfd(pidfd: &OwnedFd) -> io::Result<ExitStatus> {
    let number = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    reap(libc::P_PIDFD, number, libc::WEXITED)?.ok_or_else(|| io::Error::other("the program has not ended"))
}

/// `None` if the child has not ended and `flags` contain WNOHANG.
pub(super) fn reap(
    kind: libc::idtype_t,
    id: libc::id_t,
    flags: libc::c_int,
) -> io::Result<Option<ExitStatus>> {
    // SAFETY: zeroes are a valid siginfo and mean "not ended".
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for the call.
    while let Err(error) = check(unsafe { libc::waitid(kind, id, &raw mut info, flags) }) {
        // Retry after EINTR: an unreaped child stays a zombie.
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
        libc::CLD_EXITED => ExitStatus::Code(status.unsigned_abs()),
        _ => ExitStatus::Signal(status),
    }))
}
