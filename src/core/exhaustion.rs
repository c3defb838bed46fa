//! When the system runs out of descriptors or memory: how long nobody is
//! accepted, and when that is worth a line in the log. Under lasting pressure
//! every session that ends lets one client in and the next one fails again;
//! that is one state, not a thousand changes of it.

use std::time::Duration;

use super::backoff::Backoff;

/// Accepting is tried again after this,
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// up to this, and whenever a session ends.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// It is over when nothing failed for this long.
pub const CALM_AFTER: Duration = Duration::from_secs(1);

/// The state. Times are on any monotonic scale.
#[derive(Debug)]
pub struct Exhaustion {
    lasting: bool,
    worked_since: Option<Duration>,
    pause: Backoff,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Nobody is accepted for this long.
    pub delay: Duration,
    /// It has just begun, so say so.
    pub begins: bool,
}

impl Exhaustion {
    /// All is well.
    pub fn new() -> Self {
        Exhaustion { lasting: false, worked_since: None, pause: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE) }
    }

    /// An accept failed for want of something.
    pub fn ran_out(&mut self) -> Pause {
        self.worked_since = None;
        Pause { delay: self.pause.failed(), begins: !std::mem::replace(&mut self.lasting, true) }
    }

    /// An accept worked. True if `is_over` should be asked after [`CALM_AFTER`].
    pub fn worked(&mut self, now: Duration) -> bool {
        self.pause.succeeded();
        let first = self.lasting && self.worked_since.is_none();
        if first {
            self.worked_since = Some(now);
        }
        first
    }

    /// Whether it has just ended, so say so.
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
    fn one_beginning_and_one_end_are_said_however_often_it_flickers() {
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
