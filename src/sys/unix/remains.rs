//! Processes that nothing waits for. Killed ones that have not gone: in the kernel's uninterruptible
//! sleep, or a zombie whose exit status a tracer keeps. And trees that `leftovers = "leave"` leaves.
//! The list is looked at every second, and the status shows how many are stuck.

use std::sync::{Mutex, PoisonError};

use super::cgroup::Cgroup;
use super::pidfd::Pidfd;
use super::reap::reap;

#[derive(Debug)]
pub(super) enum Remains {
    /// A program that has ended and was not reaped, so its number is still its own.
    Program(libc::pid_t),
    /// A process that a program left in its session.
    Leftover(Pidfd),
    KilledTree(Cgroup),
    /// It was not killed, so it is not stuck. Its cgroup goes with its last process.
    LeftTree(Cgroup),
}

/// What the list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub stuck: usize,
    pub left: usize,
}

static LIST: Mutex<Vec<Remains>> = Mutex::new(Vec::new());

pub(super) fn keep(remains: Remains) {
    LIST.lock().unwrap_or_else(PoisonError::into_inner).push(remains);
}

/// Forgets what has gone meanwhile.
pub(super) fn look_again() -> Kept {
    let mut list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    list.retain_mut(|stuck| !stuck.is_gone());
    let left = list.iter().filter(|stuck| matches!(stuck, Remains::LeftTree(_))).count();
    Kept { stuck: list.len() - left, left }
}

impl Remains {
    fn is_gone(&mut self) -> bool {
        match self {
            // An error says that it is no child of ours any more.
            Remains::Program(pid) => !matches!(reap(libc::P_PID, pid.unsigned_abs(), 0), Ok(None)),
            Remains::Leftover(pidfd) => pidfd.has_ended(),
            Remains::KilledTree(cgroup) | Remains::LeftTree(cgroup) => cgroup.is_gone(),
        }
    }
}
