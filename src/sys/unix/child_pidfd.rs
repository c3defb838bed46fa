//! A running program on Linux: waited for by its pidfd, which no other
//! process can come to mean, and ended with all of its session.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::super::fault::{self, Says};
use super::cgroup::Cgroup;
use super::reap::reap_pidfd;
use super::{connection, orphans, poll};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;

/// How often a program is looked at that can't be watched.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A program that was started, until it is reaped.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    /// Its session: its own, or ours with `--run`.
    session: libc::pid_t,
    pidfd: OwnedFd,
    /// Reaped, or left to itself: its number is not ours any more.
    is_over: bool,
    /// Where its processes are counted, if they are.
    pub(super) cgroup: Option<Cgroup>,
}

impl Child {
    pub(super) fn new(pid: libc::pid_t, pidfd: OwnedFd) -> Self {
        Child { pid, session: pid, pidfd, is_over: false, cgroup: None }
    }

    /// It is in the session of this process, which leads that session.
    pub(super) fn stays_in_our_session(&mut self) {
        // SAFETY: no pointers.
        self.session = unsafe { libc::getpid() };
    }

    /// The process number, for people.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits for the program's end, ends what is left of its session unless
    /// `leftovers` says otherwise, and tells how the program ended. It is reaped
    /// last: until then its number, which is the session's, can't come to mean
    /// another process.
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

    /// Returns once the program has ended. Where the loop can't watch it, for want of
    /// memory, it is looked at now and then: a program that nobody waits for would
    /// never be reaped.
    async fn ended(&self) {
        if let Ok(ready) = poll::watch(self.pidfd.as_fd()) {
            // Dropped before the descriptor is closed: a pidfd that is ready
            // must leave the poll set first.
            if ready.readable().await.is_ok() {
                return;
            }
        }
        while !poll::is_readable(self.pidfd.as_fd()) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks the program's whole session to end: every process group of it that
    /// can be found. False if there is nobody to ask.
    pub fn ask_to_end(&self) -> bool {
        if self.is_over {
            return false;
        }
        let mut groups = orphans::groups_of_session(self.session);
        // SAFETY: no pointers.
        let own = unsafe { libc::getpgrp() };
        groups.retain(|&group| group != self.pid && group != own);
        // SAFETY: no pointers. The number is ours while the child is not
        // reaped. Until it leads a group, a program of `--run` is asked alone.
        let asked = fault::point("ask", Says::Privilege).is_ok()
            && unsafe {
                libc::kill(-self.pid, libc::SIGTERM) == 0 || libc::kill(self.pid, libc::SIGTERM) == 0
            };
        for group in groups {
            // SAFETY: no pointers. A group of this session was seen just now.
            unsafe { libc::kill(-group, libc::SIGTERM) };
        }
        asked
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
}

impl Drop for Child {
    /// A session that is dropped in the middle (the server stops) must not
    /// leave its program running.
    fn drop(&mut self) {
        self.end_tree();
    }
}

/// Whether a process that a program left behind has this connection.
pub fn leftovers_have(connection: &connection::Id) -> bool {
    orphans::have(&connection.0)
}

/// Reaps what programs left behind and what has ended since. True if some of
/// it still runs, so that it should be asked for again.
pub fn reap_orphans() -> bool {
    orphans::reap_ended()
}
