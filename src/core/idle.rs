//! Decides when an idle connection ends, from byte counts that are polled.

use std::time::Duration;

/// Bytes received and sent.
pub type MovedBytes = (u64, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleCheck {
    Again(Duration),
    End,
}

/// The idle time of one connection. Times are since its beginning.
#[derive(Debug)]
pub struct Idle {
    timeout: Duration,
    moved: MovedBytes,
    last: Duration,
}

impl Idle {
    pub fn new(timeout: Duration) -> Self {
        Idle { timeout, moved: (0, 0), last: Duration::ZERO }
    }

    /// `quiet` is the time since the last movement, by the counter's clock.
    pub fn look(&mut self, now: Duration, moved: MovedBytes, quiet: Duration) -> IdleCheck {
        if moved != self.moved {
            self.moved = moved;
            // Never goes back: the two clocks differ.
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
