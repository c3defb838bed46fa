//! A running program on Linux, known by its pidfd, which never refers to another process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::super::fault::{self, Says};
use super::cgroup::Cgroup;
use super::reap::reap_pidfd;
use super::{connection, orphans, poll};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;

/// How often to check a program that the event loop cannot watch.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    /// Its own session, or ours with `--run`.
    session: libc::pid_t,
    pidfd: OwnedFd,
    /// Reaped or detached: the number may be reused.
    is_over: bool,
    pub(super) cgroup: Option<Cgroup>,
}

impl Child {
    pub(super) fn new(pid: libc::pid_t, pidfd: OwnedFd) -> Self {
        Child { pid, session: pid, pidfd, is_over: false, cgroup: None }
    }

    pub(super) fn stays_in_our_session(&mut self) {
        // SAFETY: no pointers.
        self.session = unsafe { libc::getpid() };
    }

    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Kills the rest of the session unless `leftovers` keeps it. Reaps the program last, so that
    /// its number, which is also the session's, is not reused.
    pub async fn wait(&mut self, leftovers: Leftovers) -> io::Result<ExitStatus> {
        self.ended().await;
        match leftovers {
            Leftovers::End => {
                orphans::end_session(self.session, self.pid).await;
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
        let exit = fault::point("reap", Says::Memory).and_then(|()| reap_pidfd(&self.pidfd));
        self.is_over = true;
        exit
    }

    /// An unwatched program is never reaped, so this polls if the event loop lacks memory.
    async fn ended(&self) {
        if let Ok(ready) = poll::watch(self.pidfd.as_fd()) {
            // Dropped before the descriptor is closed: a ready pidfd must leave the poll set first.
            if ready.readable().await.is_ok() {
                return;
            }
        }
        while !poll::is_readable(self.pidfd.as_fd()) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Sends SIGTERM to every process group of the session. False if the program is gone.
    pub fn ask_to_end(&self) -> bool {
        if self.is_over {
            return false;
        }
        let mut groups = orphans::groups_of_session(self.session);
        // SAFETY: no pointers.
        let own = unsafe { libc::getpgrp() };
        groups.retain(|&group| group != self.pid && group != own);
        // SAFETY: no pointers. The number is ours until the child is reaped.
        let asked = fault::point("ask", Says::Privilege).is_ok()
            && unsafe {
                libc::kill(-self.pid, libc::SIGTERM) == 0 || libc::kill(self.pid, libc::SIGTERM) == 0
            };
        for group in groups {
            // SAFETY: no pointers. The group was in this session just now.
            unsafe { libc::kill(-group, libc::SIGTERM) };
        }
        asked
    }

    /// Detaches the program, which outlives the server.
    pub fn leave(mut self) {
        self.is_over = true;
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.leave();
        }
    }

    pub fn has_read_nothing(&self) -> bool {
        false
    }

    /// Kills the program and its process group; `wait` then kills the rest.
    pub fn end_tree(&self) {
        if !self.is_over {
            // SAFETY: no pointers. The number is ours until the child is reaped.
            unsafe {
                libc::kill(-self.pid, libc::SIGKILL);
                libc::kill(self.pid, libc::SIGKILL);
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end_tree();
    }
}

pub fn leftovers_have(connection: &connection::Id) -> bool {
    orphans::have(&connection.0)
}

/// True if some orphans still run, so that the caller asks again.
pub fn reap_orphans() -> bool {
    orphans::reap_ended()
}
