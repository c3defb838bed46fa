//! Which call on a connection a helper thread makes next, and how many threads to add.
//!
//! A process that a session left behind can block each call on its connection for
//! minutes. So the service with the fewest calls under way comes first, a session with
//! a stuck call gets no second thread, and a new thread replaces each stuck one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::model::ids::{ServiceId, SessionId};

pub const THREADS: usize = 2;

/// An ordinary call takes microseconds. A longer one is stuck.
pub const STUCK_AFTER: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub service: ServiceId,
    pub session: SessionId,
}

#[derive(Debug)]
pub struct HelperQueue<Job> {
    waiting: VecDeque<(Owner, Job)>,
    services: HashMap<ServiceId, usize>,
    /// When each call under way began, for each session that has one.
    sessions: HashMap<SessionId, Vec<Duration>>,
    threads: usize,
}

impl<Job> HelperQueue<Job> {
    pub fn new() -> Self {
        HelperQueue {
            waiting: VecDeque::new(),
            services: HashMap::new(),
            sessions: HashMap::new(),
            threads: THREADS,
        }
    }

    pub fn push(&mut self, owner: Owner, job: Job) {
        self.waiting.push_back((owner, job));
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn pop(&mut self, now: Duration) -> Option<(Owner, Job)> {
        let may_run = self.waiting.iter().enumerate().filter(|(_, (owner, _))| !self.is_stuck(*owner, now));
        let under_way = |owner: &Owner| self.services.get(&owner.service).copied().unwrap_or(0);
        let (next, _) = may_run.min_by_key(|(_, (owner, _))| under_way(owner))?;
        let (owner, job) = self.waiting.remove(next)?;
        *self.services.entry(owner.service).or_default() += 1;
        self.sessions.entry(owner.session).or_default().push(now);
        Some((owner, job))
    }

    pub fn done(&mut self, owner: Owner, began: Duration) {
        if let Some(times) = self.sessions.get_mut(&owner.session) {
            if let Some(at) = times.iter().position(|&time| time == began) {
                times.swap_remove(at);
            }
            if times.is_empty() {
                self.sessions.remove(&owner.session);
            }
        }
        if let Some(count) = self.services.get_mut(&owner.service) {
            *count -= 1;
            if *count == 0 {
                self.services.remove(&owner.service);
            }
        }
    }

    /// How many threads the caller must start. They count as started.
    pub fn grow(&mut self, now: Duration) -> usize {
        if self.waiting.iter().all(|(owner, _)| self.is_stuck(*owner, now)) {
            return 0;
        }
        let stuck = self.sessions.values().flatten().filter(|&&began| now >= began + STUCK_AFTER).count();
        let missing = (THREADS + stuck).saturating_sub(self.threads);
        self.threads += missing;
        missing
    }

    pub fn not_grown(&mut self, threads: usize) {
        self.threads -= threads;
    }

    fn is_stuck(&self, owner: Owner, now: Duration) -> bool {
        let times = self.sessions.get(&owner.session);
        times.is_some_and(|times| times.iter().any(|&began| now >= began + STUCK_AFTER))
    }
}

impl<Job> Default for HelperQueue<Job> {
    fn default() -> Self {
        HelperQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn owner(service: usize, session: u64) -> Owner {
        Owner { service: ServiceId(service), session: SessionId(session) }
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_service_with_the_fewest_calls_comes_first() {
        let mut queue = HelperQueue::new();
        for (service, session) in [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)] {
            queue.push(owner(service, session), session);
        }
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop(ms(0))).map(|(_, job)| job).collect();
        assert_eq!(order, [1, 4, 2, 5, 3]);
        queue.done(owner(1, 4), ms(0));
        queue.push(owner(0, 6), 6);
        queue.push(owner(1, 7), 7);
        assert_eq!(queue.pop(ms(1)), Some((owner(1, 7), 7)));
    }

    #[test]
    fn a_hundred_stuck_calls_delay_no_other_service() {
        let mut queue = HelperQueue::new();
        for session in 1..=100 {
            queue.push(owner(0, session), session);
        }
        assert_eq!((queue.pop(ms(0)).is_some(), queue.pop(ms(0)).is_some()), (true, true));
        queue.push(owner(1, 200), 200);
        assert_eq!(queue.grow(ms(49)), 0);
        assert_eq!(queue.grow(ms(50)), 2);
        assert_eq!(queue.pop(ms(50)), Some((owner(1, 200), 200)));
    }

    #[test]
    fn a_stuck_session_gets_no_second_thread() {
        let mut queue = HelperQueue::new();
        queue.push(owner(0, 1), 1);
        queue.pop(ms(0));
        queue.push(owner(0, 1), 2);
        assert_eq!((queue.grow(ms(50)), queue.pop(ms(50))), (0, None));
        queue.push(owner(0, 2), 3);
        assert_eq!(queue.pop(ms(50)), Some((owner(0, 2), 3)));
        queue.done(owner(0, 1), ms(0));
        assert_eq!(queue.pop(ms(51)), Some((owner(0, 1), 2)));
        assert!(queue.is_empty());
    }

    #[test]
    fn each_stuck_call_has_one_thread_and_two_are_free() {
        let mut queue = HelperQueue::new();
        for session in 1..=10 {
            queue.push(owner(0, session), session);
        }
        let mut threads = THREADS;
        for session in 1..=4 {
            assert_eq!(queue.pop(ms(0)), Some((owner(0, session), session)));
        }
        threads += queue.grow(ms(50));
        assert_eq!((threads, queue.grow(ms(50))), (THREADS + 4, 0));
        queue.not_grown(1);
        assert_eq!(queue.grow(ms(50)), 1);
        queue.done(owner(0, 1), ms(0));
        assert_eq!(queue.grow(ms(50)), 0);
    }
}
