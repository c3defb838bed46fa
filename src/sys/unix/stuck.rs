//! Killed processes that have not gone: one in the kernel's uninterruptible sleep, or a zombie whose
//! exit status a tracer keeps. Nothing waits for them. The list is looked at every second, and the
//! status shows how many there are.

use std::sync::{Mutex, PoisonError};

use super::cgroup::Cgroup;
use super::pidfd::Pidfd;
use super::reap::reap;

#[derive(Debug)]
pub(super) enum Stuck {
    /// A program that has ended and was not reaped, so its number is still its own.
    Program(libc::pid_t),
    /// A process that a program left in its session.
    Leftover(Pidfd),
    Tree(Cgroup),
}

static LIST: Mutex<Vec<Stuck>> = Mutex::new(Vec::new());

pub(super) fn keep(stuck: Stuck) {
    LIST.lock().unwrap_or_else(PoisonError::into_inner).push(stuck);
}

/// Forgets what has gone meanwhile. Returns how many are left.
pub(super) fn look_again() -> usize {
    let mut list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    list.retain_mut(|stuck| !stuck.is_gone());
    list.len()
}

impl Stuck {
    fn is_gone(&mut self) -> bool {
        match self {
            // An error says that it is no child of ours any more.
            Stuck::Program(pid) => !matches!(reap(libc::P_PID, pid.unsigned_abs(), 0), Ok(None)),
            Stuck::Leftover(pidfd) => pidfd.has_ended(),
            Stuck::Tree(cgroup) => cgroup.is_gone(),
        }
    }
}
