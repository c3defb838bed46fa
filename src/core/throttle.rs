//! Pauses a service that fails, with growing delays. After each pause one session probes it.
//! The session decides what counts as a failure; no client can cause one. Sessions from before a
//! pause neither extend it nor end it.

use std::time::Duration;

use super::backoff::Backoff;
use crate::model::ids::SessionId;

/// The first pause. Pauses double up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Real sessions count from 1.
const NOBODY: SessionId = SessionId(0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// Clients are closed at once, for this long.
    Closed(Duration),
    /// The next session is the probe.
    Trying,
    /// A probe runs, and clients wait for its result.
    Wait,
}

/// The history of one service. Times are since any fixed moment.
#[derive(Debug)]
pub struct Throttle {
    state: State,
    pause: Backoff,
    cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    Paused { until: Duration },
    Probing(SessionId),
}

impl Throttle {
    pub fn new() -> Self {
        Throttle { state: State::Well, pause: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), cause: String::new() }
    }

    pub fn gate(&self, now: Duration) -> Gate {
        match self.state {
            State::Well => Gate::Open,
            State::Paused { until } if now < until => Gate::Closed(until - now),
            State::Paused { .. } => Gate::Trying,
            State::Probing(_) => Gate::Wait,
        }
    }

    pub fn cause(&self) -> Option<&str> {
        (self.state != State::Well).then_some(&*self.cause)
    }

    /// Returns true if the session is the probe.
    pub fn began(&mut self, session: SessionId, now: Duration) -> bool {
        let is_probe = self.gate(now) == Gate::Trying;
        if is_probe {
            self.state = State::Probing(session);
        }
        is_probe
    }

    /// Returns the pause that begins, if one does.
    pub fn failed(&mut self, session: SessionId, cause: &str, now: Duration) -> Option<Duration> {
        match self.state {
            State::Well => {}
            State::Probing(probe) if probe == session => {}
            State::Paused { .. } | State::Probing(_) => return None,
        }
        let pause = self.pause.failed();
        self.state = State::Paused { until: now.saturating_add(pause) };
        cause.clone_into(&mut self.cause);
        Some(pause)
    }

    /// The probe could not try the service. The next session is the probe.
    pub fn not_tried(&mut self, session: SessionId, now: Duration) {
        if self.state == State::Probing(session) {
            self.state = State::Paused { until: now };
        }
    }

    /// Returns true if that ends a pause.
    pub fn worked(&mut self, session: SessionId) -> bool {
        let recovered = self.state == State::Probing(session);
        if recovered {
            self.reset();
        }
        recovered
    }

    /// A warm program failed. Returns the pause that begins, if one does.
    pub fn failed_alone(&mut self, cause: &str, now: Duration) -> Option<Duration> {
        // While a probe runs, only its result counts.
        if self.gate(now) == Gate::Trying {
            self.state = State::Well;
        }
        self.failed(NOBODY, cause, now)
    }

    /// A warm program works. Returns true if that ends a pause.
    pub fn works_alone(&mut self, now: Duration) -> bool {
        let recovered = self.gate(now) == Gate::Trying;
        if recovered {
            self.reset();
        }
        recovered
    }

    pub fn reset(&mut self) {
        self.state = State::Well;
        self.pause.succeeded();
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    #[test]
    fn pauses_double_to_ten_minutes_and_reset_on_success() {
        let mut throttle = Throttle::new();
        let mut now = s(0);
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            throttle.began(A, now);
            assert_eq!(throttle.failed(A, "x", now), Some(s(pause)));
            assert_eq!(throttle.gate(now), Gate::Closed(s(pause)));
            now += s(pause);
            assert_eq!(throttle.gate(now), Gate::Trying);
        }
        assert!(throttle.began(B, now));
        assert_eq!(throttle.gate(now), Gate::Wait);
        assert!(throttle.worked(B));
        assert_eq!((throttle.gate(now), throttle.cause()), (Gate::Open, None));
        assert_eq!(throttle.failed(A, "x", now), Some(s(1)));
    }

    #[test]
    fn only_one_tries() {
        let mut throttle = Throttle::new();
        throttle.failed(A, "x", s(0));
        assert!(!throttle.began(B, s(0)));
        assert!(throttle.began(B, s(1)));
        assert!(!throttle.began(SessionId(3), s(1)));
    }

    #[test]
    fn session_that_cannot_probe_leaves_it_to_the_next() {
        let mut throttle = Throttle::new();
        throttle.failed(A, "x", s(0));
        assert!(throttle.began(A, s(1)));
        throttle.not_tried(B, s(1));
        assert_eq!(throttle.gate(s(1)), Gate::Wait);
        throttle.not_tried(A, s(1));
        assert_eq!((throttle.gate(s(1)), throttle.cause()), (Gate::Trying, Some("x")));
        assert!(throttle.began(B, s(1)));
        assert_eq!(throttle.failed(B, "x", s(1)), Some(s(2)));
    }

    #[test]
    fn earlier_sessions_neither_lengthen_nor_end_a_pause() {
        let mut throttle = Throttle::new();
        throttle.failed(A, "x", s(0));
        assert_eq!(throttle.failed(B, "y", s(0)), None);
        assert!(!throttle.worked(B));
        throttle.began(SessionId(3), s(1));
        assert_eq!(throttle.failed(B, "y", s(1)), None);
        assert!(!throttle.worked(B));
        assert_eq!(throttle.cause(), Some("x"));
    }
}
