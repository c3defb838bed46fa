//! A running program without pidfds. After SIGCHLD each session checks its own child.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::super::fault::{self, Says};
use super::cgroup::Cgroup;
use super::{check, connection};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;

/// How often to check a program without SIGCHLD.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    /// Reaped or detached: the number may be reused.
    is_over: bool,
    pub(super) cgroup: Option<Cgroup>,
}

impl Child {
    pub(super) fn new(pid: libc::pid_t) -> Self {
        Child { pid, is_over: false, cgroup: None }
    }

    /// Nothing to do: only the process group is killed here.
    pub(super) fn stays_in_our_session(&mut self) {}

    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Kills the rest of the process group unless `leftovers` keeps it. Other groups escape.
    pub async fn wait(&mut self, leftovers: Leftovers) -> io::Result<ExitStatus> {
        let mut ended = fault::point("watch", Says::Memory).and_then(|()| signal(SignalKind::child()));
        // The program may have ended before we listened.
        while !self.has_ended()? {
            match &mut ended {
                Ok(ended) => drop(ended.recv().await),
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
        match leftovers {
            Leftovers::End => {
                // The unreaped program keeps the group's number from reuse.
                self.end_tree();
                if let Some(cgroup) = &mut self.cgroup {
                    cgroup.end().await;
                }
            }
            Leftovers::Leave => {
                if let Some(cgroup) = &mut self.cgroup {
                    cgroup.leave();
                }
            }
        }
        fault::point("reap", Says::Memory)?;
        self.reap()
    }

    /// Sends SIGTERM to the program's process group. False if the program is gone.
    pub fn ask_to_end(&self) -> bool {
        // SAFETY: no pointers. The number is ours until the child is reaped.
        !self.is_over
            && fault::point("ask", Says::Privilege).is_ok()
            && unsafe {
                libc::kill(-self.pid, libc::SIGTERM) == 0 || libc::kill(self.pid, libc::SIGTERM) == 0
            }
    }

    /// Detaches the program, which outlives the server.
    pub fn leave(mut self) {
        self.is_over = true;
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.leave();
        }
    }

    pub fn has_read_nothing(&self) -> bool {
        false
    }

    /// Kills the program and its process group; `wait` then returns.
    pub fn end_tree(&self) {
        if !self.is_over {
            // SAFETY: no pointers. The number is ours until the child is reaped.
            unsafe {
                libc::kill(-self.pid, libc::SIGKILL);
                libc::kill(self.pid, libc::SIGKILL);
            }
        }
    }

    fn has_ended(&self) -> io::Result<bool> {
        // SAFETY: zeroes are a valid siginfo and mean "not ended".
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
            // Retry after EINTR: an unreaped child stays a zombie.
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
    fn drop(&mut self) {
        self.end_tree();
    }
}

pub const TREE_DESCRIPTORS: usize = 0;

/// Always false, so the client's stream ends with the program.
pub fn leftovers_have(_connection: &connection::Id) -> bool {
    false
}

pub fn reap_orphans() -> bool {
    false
}

pub fn stuck() -> usize {
    0
}

pub fn remove_free_trees() {}
