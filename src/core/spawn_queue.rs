//! Which program is started next, and when one more thread is needed.
//!
//! A domain controller or a dead network path can block a start for long. So a service gets a
//! second thread only if no other service waits, and none while a start of it is stuck.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::model::ids::ServiceId;

/// Initial threads. Two measured best, since a start uses two processors at most.
pub const THREADS: usize = 2;

/// An ordinary start takes a millisecond. A longer one is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(1);

/// Limit for a child to become its program. An automounter or a disk that spins up takes less.
pub const HANGS_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct SpawnQueue<Job> {
    waiting: VecDeque<(ServiceId, Job)>,
    running: HashMap<ServiceId, Vec<Duration>>,
    threads: usize,
}

impl<Job> SpawnQueue<Job> {
    pub fn new() -> Self {
        SpawnQueue { waiting: VecDeque::new(), running: HashMap::new(), threads: THREADS }
    }

    pub fn push(&mut self, service: ServiceId, job: Job) {
        self.waiting.push_back((service, job));
    }

    pub fn pop(&mut self, now: Duration) -> Option<(ServiceId, Job)> {
        let next = self
            .waiting
            .iter()
            .position(|(service, _)| !self.running.contains_key(service))
            .or_else(|| self.waiting.iter().position(|(service, _)| !self.is_stuck(*service, now)))?;
        let (service, job) = self.waiting.remove(next)?;
        self.running.entry(service).or_default().push(now);
        Some((service, job))
    }

    pub fn take_out(&mut self, is_it: impl Fn(&Job) -> bool) -> Option<Job> {
        let at = self.waiting.iter().position(|(_, job)| is_it(job))?;
        self.waiting.remove(at).map(|(_, job)| job)
    }

    pub fn done(&mut self, service: ServiceId, began: Duration) {
        if let Some(times) = self.running.get_mut(&service) {
            if let Some(at) = times.iter().position(|&time| time == began) {
                times.swap_remove(at);
            }
            if times.is_empty() {
                self.running.remove(&service);
            }
        }
    }

    /// Counts the thread as started.
    pub fn grow(&mut self, now: Duration) -> bool {
        let stuck: usize =
            self.running.values().flatten().filter(|&&began| now >= began + STUCK_AFTER).count();
        let useful = self.waiting.iter().any(|(service, _)| !self.is_stuck(*service, now));
        let grow = useful && self.threads < THREADS + stuck;
        self.threads += usize::from(grow);
        grow
    }

    pub fn not_grown(&mut self) {
        self.threads -= 1;
    }

    fn is_stuck(&self, service: ServiceId, now: Duration) -> bool {
        self.running.get(&service).is_some_and(|times| times.iter().any(|&began| now >= began + STUCK_AFTER))
    }
}

impl<Job> Default for SpawnQueue<Job> {
    fn default() -> Self {
        SpawnQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServiceId = ServiceId(0);
    const B: ServiceId = ServiceId(1);

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_service_without_a_thread_comes_first() {
        let mut queue = SpawnQueue::new();
        for (service, job) in [(A, 1), (A, 2), (B, 3)] {
            queue.push(service, job);
        }
        assert_eq!(queue.pop(ms(0)), Some((A, 1)));
        assert_eq!(queue.pop(ms(0)), Some((B, 3)));
        assert_eq!(queue.pop(ms(0)), Some((A, 2)));
        assert_eq!(queue.pop(ms(0)), None);
    }

    #[test]
    fn only_a_waiting_job_can_be_taken_out() {
        let mut queue = SpawnQueue::new();
        for job in 1..=3 {
            queue.push(A, job);
        }
        assert_eq!(queue.pop(ms(0)), Some((A, 1)));
        assert_eq!(queue.take_out(|&job| job == 1), None);
        assert_eq!(queue.take_out(|&job| job == 2), Some(2));
        assert_eq!(queue.take_out(|&job| job == 2), None);
        assert_eq!(queue.pop(ms(0)), Some((A, 3)));
    }

    #[test]
    fn stuck_service_gets_no_second_thread_and_others_get_one() {
        let mut queue = SpawnQueue::new();
        for job in 0..9 {
            queue.push(A, job);
        }
        queue.pop(ms(0));
        queue.pop(ms(0));
        assert!(!queue.grow(ms(999)));
        assert!(!queue.grow(ms(1000)));
        assert_eq!(queue.pop(ms(1000)), None);
        queue.push(B, 100);
        assert!(queue.grow(ms(1000)));
        assert_eq!(queue.pop(ms(1000)), Some((B, 100)));
    }

    #[test]
    fn threads_are_bounded_by_what_is_stuck() {
        let mut queue = SpawnQueue::new();
        queue.push(A, 0);
        queue.pop(ms(0));
        for job in 0..9 {
            queue.push(B, job);
        }
        assert!(queue.grow(ms(1000)));
        queue.not_grown();
        assert!(queue.grow(ms(1000)));
        assert!(!queue.grow(ms(1000)));
        queue.done(A, ms(0));
        assert!(!queue.grow(ms(5000)));
    }
}
