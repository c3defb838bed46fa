//! A start under way, as the threads see it that wait for it: how far it has
//! come, since when its child has existed, and how to cancel it.
//!
//! On Unix a child has the account's identity before it has become its program.
//! Any process of that account may then stop it (SIGSTOP), and the thread that
//! started it waits. So another thread must be able to kill it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Step;

/// One start, shared by the thread that does it and the one that waits for it.
#[derive(Debug, Clone, Default)]
pub struct Attempt(Arc<AttemptProgress>);

#[derive(Debug, Default)]
struct AttemptProgress {
    cancelled: AtomicBool,
    /// The place in [`Step::ALL`] of the step that was reached last.
    step: AtomicUsize,
    /// Since when there is a child that has not become its program. `cancel` holds the
    /// lock while it kills that child, so the child is not reaped meanwhile.
    child_since: Mutex<Option<Instant>>,
    #[cfg(unix)]
    pid: std::sync::atomic::AtomicI32,
}

impl Attempt {
    /// Nothing is under way yet.
    pub fn new() -> Attempt {
        let attempt = Attempt::default();
        attempt.reach(Step::Spawn);
        attempt
    }

    /// The program must not begin any more. A child that has not become its program
    /// is killed; one that has is left alone.
    pub fn cancel(&self) {
        let child = self.lock();
        self.0.cancelled.store(true, Ordering::SeqCst);
        #[cfg(unix)]
        if child.is_some() {
            self.kill();
        }
        drop(child);
    }

    /// Whether both are the same start.
    pub fn is(&self, other: &Attempt) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Whether a child has existed for so long and has not become its program.
    pub fn hangs(&self, limit: Duration) -> bool {
        self.lock().is_some_and(|since| since.elapsed() >= limit)
    }

    /// The step that was reached last.
    pub fn step(&self) -> Step {
        Step::ALL.get(self.0.step.load(Ordering::Relaxed)).copied().unwrap_or(Step::Spawn)
    }

    /// Neither locks nor allocates: a child that runs in our memory calls it.
    pub(super) fn reach(&self, step: Step) {
        self.0.step.store(step as usize, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.child_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
impl Attempt {
    /// A child is about to be made. False if it must not be.
    pub(super) fn begin(&self) -> bool {
        let mut since = self.lock();
        let goes_on = !self.is_cancelled();
        *since = goes_on.then(Instant::now);
        goes_on
    }

    /// The child has this number. False if it must not become its program; a caller
    /// that is the child itself ends then. Neither locks nor allocates.
    pub(super) fn set_child(&self, pid: libc::pid_t) -> bool {
        self.0.pid.store(pid, Ordering::SeqCst);
        // `cancel` writes and reads in the other order, so one of them sees the other.
        !self.is_cancelled()
    }

    /// The child has become its program, or is about to be reaped: from here on it
    /// is killed by its owner only. True if it was cancelled before.
    pub(super) fn finish(&self) -> bool {
        *self.lock() = None;
        self.0.pid.store(0, Ordering::SeqCst);
        self.is_cancelled()
    }

    fn kill(&self) {
        let pid = self.0.pid.load(Ordering::SeqCst);
        if pid > 0 {
            // SAFETY: no pointers. Our child, which is not reaped while the lock is held.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_start_hangs_at_no_step_and_is_not_cancelled() {
        let attempt = Attempt::new();
        assert_eq!((attempt.step(), attempt.is_cancelled()), (Step::Spawn, false));
        assert!(!attempt.hangs(Duration::ZERO));
    }

    #[test]
    fn every_step_comes_back_as_it_was_reached() {
        let attempt = Attempt::new();
        for step in Step::ALL {
            attempt.reach(step);
            assert_eq!(attempt.step(), step);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_cancelled_start_makes_no_child() {
        let attempt = Attempt::new();
        attempt.cancel();
        assert!(!attempt.begin());
        assert!(!attempt.hangs(Duration::ZERO));
    }
}
