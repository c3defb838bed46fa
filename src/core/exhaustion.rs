//! Exhausted descriptors or memory. Under lasting pressure each session that ends lets one client
//! in, and the next accept fails. That is one state in the log, not a thousand changes.

use std::time::Duration;

use super::backoff::Backoff;

/// Pauses double up to `LONGEST_PAUSE`. Accepting is also retried when a session ends.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The exhaustion ends when no accept has failed for this long.
pub const CALM_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Exhaustion {
    lasting: bool,
    worked_since: Option<Duration>,
    pause: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub delay: Duration,
    pub begins: bool,
}

impl Exhaustion {
    pub fn new() -> Self {
        Exhaustion { lasting: false, worked_since: None, pause: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) }
    }

    pub fn ran_out(&mut self) -> Pause {
        self.worked_since = None;
        Pause { delay: self.pause.failed(), begins: !std::mem::replace(&mut self.lasting, true) }
    }

    /// An accept worked. Returns true if the caller should call `is_over` after [`CALM_AFTER`].
    pub fn worked(&mut self, now: Duration) -> bool {
        self.pause.succeeded();
        let first = self.lasting && self.worked_since.is_none();
        if first {
            self.worked_since = Some(now);
        }
        first
    }

    pub fn is_over(&mut self, now: Duration) -> bool {
        let over = self.lasting && self.worked_since.is_some_and(|since| now >= since + CALM_AFTER);
        if over {
            self.lasting = false;
            self.worked_since = None;
        }
        over
    }
}

impl Default for Exhaustion {
    fn default() -> Self {
        Exhaustion::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flickering_exhaustion_begins_and_ends_once() {
        let mut exhaustion = Exhaustion::new();
        let ms = Duration::from_millis;
        assert!(exhaustion.ran_out().begins);
        for time in 0..100 {
            assert!(exhaustion.worked(ms(time * 100)));
            assert!(!exhaustion.is_over(ms(time * 100 + 50)));
            assert!(!exhaustion.ran_out().begins);
        }
        assert!(exhaustion.worked(ms(20_000)));
        assert!(!exhaustion.worked(ms(20_500)));
        assert!(exhaustion.is_over(ms(21_000)));
        assert!(!exhaustion.is_over(ms(22_000)));
        assert!(exhaustion.ran_out().begins);
    }

    #[test]
    fn pauses_grow_to_a_second_and_begin_anew() {
        let mut exhaustion = Exhaustion::new();
        let delays: Vec<_> = (0..10).map(|_| exhaustion.ran_out().delay).collect();
        assert_eq!((delays[0], delays[9]), (FIRST_PAUSE, LONGEST_PAUSE));
        exhaustion.worked(Duration::ZERO);
        assert_eq!(exhaustion.ran_out().delay, FIRST_PAUSE);
    }
}
