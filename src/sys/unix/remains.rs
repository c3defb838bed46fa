//! The list of processes that remain after their sessions. The server checks it every second.
//!
//! A killed process is stuck if it is in the kernel's uninterruptible sleep, or if a tracer keeps its
//! exit status. The status shows how many are stuck. Trees that `leftovers = "leave"` leaves are not.

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
    /// Was not killed, so it is not stuck. Its cgroup goes with its last process.
    LeftTree(Cgroup),
}

/// How many entries the list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remaining {
    pub stuck: usize,
    pub left: usize,
}

static LIST: Mutex<Vec<Remains>> = Mutex::new(Vec::new());

pub(super) fn keep(remains: Remains) {
    LIST.lock().unwrap_or_else(PoisonError::into_inner).push(remains);
}

/// Forgets what has gone meanwhile.
pub(super) fn look_again() -> Remaining {
    let mut list = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    list.retain_mut(|remains| !remains.is_gone());
    let left = list.iter().filter(|remains| matches!(remains, Remains::LeftTree(_))).count();
    Remaining { stuck: list.len() - left, left }
}

impl Remains {
    fn is_gone(&mut self) -> bool {
        match self {
            // An error means that it is no longer a child of the server.
            Remains::Program(pid) => !matches!(reap(libc::P_PID, pid.unsigned_abs(), 0), Ok(None)),
            Remains::Leftover(pidfd) => pidfd.has_ended(),
            Remains::KilledTree(cgroup) | Remains::LeftTree(cgroup) => cgroup.is_gone(),
        }
    }
}
