//! A running program on Linux, known by its pidfd, which never refers to another process.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::time::Instant;

use super::super::fault::{self, Says};
use super::cgroup::{self, Cgroup};
use super::leftovers::{self, ProcessSession};
use super::pidfd::Pidfd;
use super::remains::{self, Remains};
use super::{connection, orphans};
use crate::model::endings::Leftovers;
use crate::model::exit_status::ExitStatus;

/// How often to check a program that the event loop cannot watch.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long the exit status of an ended program may take.
const REAPED_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    /// Its own session, or ours with `--run`.
    session: libc::pid_t,
    pidfd: Pidfd,
    /// The time of its start among those of orphans.
    since: u64,
    /// Reaped or detached: the number may be reused.
    is_over: bool,
    /// Holds the whole tree, if the system can make one.
    pub(super) cgroup: Option<Cgroup>,
}

impl Child {
    pub(super) fn new(pid: libc::pid_t, pidfd: OwnedFd, since: u64) -> Self {
        Child { pid, session: pid, pidfd: pidfd.into(), since, is_over: false, cgroup: None }
    }

    pub(super) fn stays_in_our_session(&mut self) {
        // SAFETY: no pointers.
        self.session = unsafe { libc::getpid() };
    }

    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    fn session(&self) -> ProcessSession {
        ProcessSession { session: self.session, group: self.pid, since: self.since }
    }

    /// Kills the rest of the tree unless `leftovers` keeps it. Reaps the program last, so that its
    /// number, which is also the session's, is not reused.
    ///
    /// After the program's end this takes a few seconds at most: what does not go is left to the
    /// list of stuck processes. An error says why the exit status is unknown.
    pub async fn wait(&mut self, leftovers: Leftovers) -> io::Result<ExitStatus> {
        self.ended().await;
        match (leftovers, &mut self.cgroup) {
            (Leftovers::End, Some(cgroup)) => cgroup.end().await,
            (Leftovers::End, None) => leftovers::end(self.session()).await,
            (Leftovers::Leave, Some(cgroup)) => cgroup.leave(),
            (Leftovers::Leave, None) => {}
        }
        self.reaped().await
    }

    /// An unwatched program is never reaped, so this polls if the event loop lacks memory.
    async fn ended(&self) {
        if self.pidfd.ended().await.is_ok() {
            return;
        }
        while !self.pidfd.has_ended() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A process that traces the program takes its exit status first. It may have left the tree.
    async fn reaped(&mut self) -> io::Result<ExitStatus> {
        let until = Instant::now() + REAPED_WITHIN;
        let mut pause = Duration::from_millis(1);
        loop {
            let status = match fault::point("reap", Says::Memory).and_then(|()| self.pidfd.reap()) {
                Ok(None) if Instant::now() < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LOOK_AGAIN);
                    continue;
                }
                Ok(None) => {
                    remains::keep(Remains::Program(self.pid));
                    Err(io::Error::other("a process that traces the program keeps its exit status"))
                }
                Ok(Some(status)) => Ok(status),
                Err(error) => Err(error),
            };
            self.is_over = true;
            return status;
        }
    }

    /// Sends SIGTERM to every process of the session. False if the program is gone.
    pub fn ask_to_end(&self) -> bool {
        if self.is_over {
            return false;
        }
        let session = self.session();
        match &self.cgroup {
            Some(cgroup) => {
                let members = cgroup.members();
                leftovers::beside(move || {
                    if let Some(members) = members {
                        members.signal(libc::SIGTERM, |pid| session.is_beside_program(pid));
                    }
                });
            }
            None => leftovers::ask(session),
        }
        // SAFETY: no pointers. The number is ours until the child is reaped.
        fault::point("ask", Says::Privilege).is_ok()
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
        if !self.is_over {
            self.end_tree();
            remains::keep(Remains::Program(self.pid));
        }
    }
}

/// Descriptors of a session's cgroup, where it has one.
pub const TREE_DESCRIPTORS: usize = 2;

pub fn leftovers_have(connection: &connection::Id) -> bool {
    orphans::have(&connection.0)
}

/// True if some orphans still run, so that the caller asks again. Call it in the first thread.
pub fn reap_orphans() -> bool {
    let kept = remains::look_again();
    orphans::reap_ended() || kept.stuck + kept.left > 0
}

/// How many killed processes and trees have not gone.
pub fn stuck() -> usize {
    remains::look_again().stuck
}

/// Removes what is kept ready for starts, at the end of the server.
pub fn remove_free_trees() {
    cgroup::remove_free();
}
