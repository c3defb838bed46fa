//! When a connection on which nothing moves is ended, from counts that are
//! looked at now and then.

use std::time::Duration;

/// What was counted, on any scale that only grows.
pub type MovedBytes = (u64, u64);

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleCheck {
    /// Look again after this time.
    Again(Duration),
    /// Nothing moved for the whole timeout.
    End,
}

/// Watches one connection. Times are since its beginning.
#[derive(Debug)]
pub struct Idle {
    timeout: Duration,
    moved: MovedBytes,
    last: Duration,
}

impl Idle {
    /// From the connection's beginning on.
    pub fn new(timeout: Duration) -> Self {
        Idle { timeout, moved: (0, 0), last: Duration::ZERO }
    }

    /// A look at `now`; `quiet` is the time since the last movement, as far as
    /// the counter knows it.
    pub fn look(&mut self, now: Duration, moved: MovedBytes, quiet: Duration) -> IdleCheck {
        if moved != self.moved {
            self.moved = moved;
            // Never before what we knew: a counter's clock is its own.
            self.last = self.last.max(now.saturating_sub(quiet));
        }
        match (self.last + self.timeout).checked_sub(now) {
            None | Some(Duration::ZERO) => IdleCheck::End,
            Some(rest) => IdleCheck::Again(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_connection_is_ended_after_the_timeout() {
        let mut idle = Idle::new(s(10));
        assert_eq!(idle.look(s(0), (0, 0), s(0)), IdleCheck::Again(s(10)));
        assert_eq!(idle.look(s(10), (0, 0), s(10)), IdleCheck::End);
    }

    #[test]
    fn movement_in_either_direction_counts_from_when_it_was() {
        let mut idle = Idle::new(s(10));
        assert_eq!(idle.look(s(10), (5, 0), s(3)), IdleCheck::Again(s(7)));
        assert_eq!(idle.look(s(17), (5, 9), s(0)), IdleCheck::Again(s(10)));
        assert_eq!(idle.look(s(27), (5, 9), s(0)), IdleCheck::End);
    }
}
