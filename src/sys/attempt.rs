//! A start in progress, shared between threads: its last step, the age of its child, and a way to
//! cancel it.
//!
//! On Unix a child takes the account's identity before it becomes its program. Any process of that
//! account may then stop the child (SIGSTOP), and the thread that started it waits. So another
//! thread must be able to kill the child.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Step;

#[derive(Debug, Clone, Default)]
pub struct Attempt(Arc<AttemptProgress>);

#[derive(Debug, Default)]
struct AttemptProgress {
    cancelled: AtomicBool,
    /// Index into [`Step::ALL`].
    step: AtomicUsize,
    /// When the start created its child. `None` without a child, and once the child is its program.
    /// `cancel` holds the lock while it kills the child, so the child is not reaped meanwhile.
    child_since: Mutex<Option<Instant>>,
    #[cfg(unix)]
    pid: std::sync::atomic::AtomicI32,
}

impl Attempt {
    pub fn new() -> Attempt {
        let attempt = Attempt::default();
        attempt.reach(Step::Spawn);
        attempt
    }

    /// Prevents the program from starting. Kills a child that has not become its program, and no
    /// other.
    pub fn cancel(&self) {
        let child = self.lock();
        self.0.cancelled.store(true, Ordering::SeqCst);
        #[cfg(unix)]
        if child.is_some() {
            self.kill();
        }
        drop(child);
    }

    pub fn is(&self, other: &Attempt) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Whether a child exists for `limit` or longer and has not become its program.
    pub fn hangs(&self, limit: Duration) -> bool {
        self.lock().is_some_and(|since| since.elapsed() >= limit)
    }

    pub fn step(&self) -> Step {
        Step::ALL.get(self.0.step.load(Ordering::Relaxed)).copied().unwrap_or(Step::Spawn)
    }

    /// Neither locks nor allocates: a child that shares the server's memory calls it.
    pub(super) fn reach(&self, step: Step) {
        self.0.step.store(step as usize, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.child_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
impl Attempt {
    /// Announces a new child. False if the start was cancelled.
    pub(super) fn begin(&self) -> bool {
        let mut since = self.lock();
        let goes_on = !self.is_cancelled();
        *since = goes_on.then(Instant::now);
        goes_on
    }

    /// Records the child's process ID. False if the start was cancelled; then a child that calls
    /// this must exit. Neither locks nor allocates.
    pub(super) fn set_child(&self, pid: libc::pid_t) -> bool {
        self.0.pid.store(pid, Ordering::SeqCst);
        // `cancel` stores and loads in the opposite order, so one of the two sees the other's
        // store.
        !self.is_cancelled()
    }

    /// The child is its program, or is about to be reaped. From here on only its owner kills it.
    /// True if the start was cancelled before.
    pub(super) fn finish(&self) -> bool {
        *self.lock() = None;
        self.0.pid.store(0, Ordering::SeqCst);
        self.is_cancelled()
    }

    fn kill(&self) {
        let pid = self.0.pid.load(Ordering::SeqCst);
        if pid > 0 {
            // SAFETY: no pointers. `pid` is a child of this process, not reaped while `cancel`
            // holds the lock.
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
