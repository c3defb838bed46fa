//! A running program on a Unix without pidfds: SIGCHLD says that some child
//! ended, and each session asks after its own. Nobody waits for just anyone.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::super::fault::{self, Says};
use super::cgroup::Cgroup;
use super::{check, connection};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;

/// How often a program is looked at whose end nobody tells us.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A program that was started, until it is reaped.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    /// Reaped, or left to itself: its number is not ours any more.
    is_over: bool,
    /// Where its processes are counted, if they are.
    pub(super) cgroup: Option<Cgroup>,
}

impl Child {
    pub(super) fn new(pid: libc::pid_t) -> Self {
        Child { pid, is_over: false, cgroup: None }
    }

    /// It is in the session of this process. Only its process group is ended here.
    pub(super) fn stays_in_our_session(&mut self) {}

    /// The process number, for people.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits for the program's end, ends what is left of its process group unless
    /// `leftovers` says otherwise, and tells how the program ended. (Processes that moved to another group
    /// of the session are not found here; on Linux they are.)
    pub async fn wait(&mut self, leftovers: Leftovers) -> io::Result<ExitStatus> {
        let mut ended = fault::point("watch", Says::Memory).and_then(|()| signal(SignalKind::child()));
        // The program may have ended before we listened, so ask first.
        while !self.has_ended()? {
            match &mut ended {
                Ok(ended) => drop(ended.recv().await),
                // A program that nobody waits for would never be reaped.
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
        match leftovers {
            Leftovers::End => {
                // The unreaped program keeps the group's number ours.
                self.end_tree();
                if let Some(cgroup) = self.cgroup.take() {
                    cgroup.end().await;
                }
            }
            Leftovers::Leave => {
                if let Some(cgroup) = self.cgroup.take() {
                    cgroup.leave();
                }
            }
        }
        fault::point("reap", Says::Memory)?;
        self.reap()
    }

    /// Asks the program's process group to end. False if there is nobody to ask.
    pub fn ask_to_end(&self) -> bool {
        // SAFETY: no pointers. The number is ours while the child is not
        // reaped. Until it leads a group, a program of `--run` is asked alone.
        !self.is_over
            && fault::point("ask", Says::Privilege).is_ok()
            && unsafe {
                libc::kill(-self.pid, libc::SIGTERM) == 0 || libc::kill(self.pid, libc::SIGTERM) == 0
            }
    }

    /// Lets the program go on by itself when the server ends.
    pub fn leave(mut self) {
        self.is_over = true;
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.leave();
        }
    }

    /// Whether it is sure that the program has read nothing: not known here.
    pub fn has_read_nothing(&self) -> bool {
        false
    }

    /// Ends the program's tree now; `wait` then returns.
    pub fn end_tree(&self) {
        if !self.is_over {
            // SAFETY: no pointers. The number is ours while the child is not
            // reaped. (Until exec it may lead no group.)
            unsafe {
                libc::kill(-self.pid, libc::SIGKILL);
                libc::kill(self.pid, libc::SIGKILL);
            }
        }
    }

    fn has_ended(&self) -> io::Result<bool> {
        // SAFETY: zeroes are a valid siginfo, and what "not ended" looks like.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let id = libc::id_t::try_from(self.pid).map_err(io::Error::other)?;
        // SAFETY: the pointer is valid for the call; the fields are those of SIGCHLD.
        unsafe {
            check(libc::waitid(libc::P_PID, id, &raw mut info, flags))?;
            Ok(info.si_pid() != 0)
        }
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let mut status = 0;
        // SAFETY: the pointer is valid for the call.
        while let Err(error) = check(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }) {
            // A child that is not reaped for a signal's sake stays for ever.
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.is_over = true;
        Ok(if libc::WIFSIGNALED(status) {
            ExitStatus::Signal(libc::WTERMSIG(status))
        } else {
            ExitStatus::Code(libc::WEXITSTATUS(status).unsigned_abs())
        })
    }
}

impl Drop for Child {
    /// A session that is dropped in the middle (the server stops) must not
    /// leave its program running.
    fn drop(&mut self) {
        self.end_tree();
    }
}

/// Whether a process that a program left behind has this connection: not known
/// here, so the client's stream ends with the program.
pub fn leftovers_have(_connection: &connection::Id) -> bool {
    false
}

/// Orphans go to the system's init here.
pub fn reap_orphans() -> bool {
    false
}
