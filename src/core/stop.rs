//! The times of a stop: asking programs, killing trees, and the exit of the server.

use std::time::Duration;

/// Time between killing the trees and the exit of the server.
pub const LAST_RESORT: Duration = Duration::from_secs(5);

/// At a stop, a client that has acknowledged all bytes gets this long to close.
pub const CLIENT_LEAVES_WITHIN: Duration = Duration::from_secs(2);

/// The times of a stop, on the scale of `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopTimes {
    pub ask: Duration,
    pub kill: Duration,
    pub end: Duration,
}

impl StopTimes {
    /// `kill_grace` is the longest of the live sessions and warm programs. The service manager kills the server
    /// after `at_most`.
    pub fn requested(
        now: Duration,
        grace: Duration,
        kill_grace: Duration,
        at_most: Option<Duration>,
    ) -> StopTimes {
        let most = at_most.unwrap_or(Duration::MAX);
        let kill = grace.saturating_add(kill_grace).min(most);
        // Half of a short limit is left for programs to end when asked.
        let ask = if kill == most { grace.min(most / 2) } else { grace };
        StopTimes::of(now.saturating_add(ask), now.saturating_add(kill))
    }

    /// Skips the grace period. If programs were already asked, kills their trees.
    pub fn requested_again(self, now: Duration) -> StopTimes {
        if self.ask <= now {
            return StopTimes::of(self.ask, self.kill.min(now));
        }
        StopTimes::of(now, self.kill - self.ask + now)
    }

    fn of(ask: Duration, kill: Duration) -> StopTimes {
        StopTimes { ask, kill, end: kill.saturating_add(LAST_RESORT) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn stop_waits_the_grace_period_then_asks_then_kills() {
        let stop = StopTimes::requested(s(100), s(10), s(5), None);
        assert_eq!((stop.ask, stop.kill, stop.end), (s(110), s(115), s(120)));
    }

    #[test]
    fn stop_times_fit_a_shorter_system_limit() {
        let stop = StopTimes::requested(s(100), s(10), s(5), Some(s(4)));
        assert_eq!((stop.ask, stop.kill), (s(102), s(104)));
    }

    #[test]
    fn second_request_skips_the_grace_and_a_third_kills() {
        let stop = StopTimes::requested(s(0), s(10), s(5), None).requested_again(s(1));
        assert_eq!((stop.ask, stop.kill), (s(1), s(6)));
        let stop = stop.requested_again(s(2));
        assert_eq!((stop.ask, stop.kill, stop.end), (s(1), s(2), s(7)));
    }
}
