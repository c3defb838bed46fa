//! The exit status of a child by waitid. Nothing here waits: a process that traces the child gets
//! its exit status first, and may keep it for as long as it runs.

use std::io;

use super::check;
use crate::model::exit_status::ExitStatus;

/// The child and its status. `None` if there are children and none has ended. `flags` are added to
/// WEXITED and WNOHANG.
pub(super) fn reap(
    kind: libc::idtype_t,
    id: libc::id_t,
    flags: libc::c_int,
) -> io::Result<Option<(libc::pid_t, ExitStatus)>> {
    // SAFETY: zeroes are a valid siginfo and mean "not ended".
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = flags | libc::WEXITED | libc::WNOHANG;
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
    let exit = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(status.unsigned_abs()),
        _ => ExitStatus::Signal(status),
    };
    Ok(Some((pid, exit)))
}
