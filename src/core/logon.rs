//! Limits logons, because some systems lock an account after a few refused ones. Clients can
//! cause one try a minute at most, doubling to one an hour.

use std::time::Duration;

use super::backoff::Backoff;

/// The pause after a refusal, doubling up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogonAction {
    UseTaken,
    Take,
    /// The last logon was refused, for this much longer.
    Refuse(Duration),
}

/// The history of one account. Times are since any fixed moment.
#[derive(Debug)]
pub struct Logon {
    lifetime: Option<Duration>,
    taken_at: Option<Duration>,
    refused_until: Option<Duration>,
    pause: Backoff,
}

impl Logon {
    pub fn new(lifetime: Option<Duration>) -> Self {
        Logon {
            lifetime,
            taken_at: None,
            refused_until: None,
            pause: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    pub fn wanted(&mut self, now: Duration) -> LogonAction {
        if let Some(taken) = self.taken_at {
            if self.lifetime.is_none_or(|lifetime| now < taken + lifetime) {
                return LogonAction::UseTaken;
            }
            self.taken_at = None;
        }
        match self.refused_until {
            Some(until) if now < until => LogonAction::Refuse(until - now),
            _ => LogonAction::Take,
        }
    }

    pub fn expires_at(&self) -> Option<Duration> {
        Some(self.taken_at? + self.lifetime?)
    }

    pub fn taken(&mut self, now: Duration) {
        self.taken_at = Some(now);
        self.refused_until = None;
        self.pause.succeeded();
    }

    pub fn refused(&mut self, now: Duration, counts_against_account: bool) {
        self.taken_at = None;
        if counts_against_account {
            self.refused_until = Some(now + self.pause.failed());
        }
    }

    pub fn forget(&mut self) {
        self.taken_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn refused_logon_is_retried_after_one_minute_up_to_one_hour() {
        let mut logon = Logon::new(Some(s(600)));
        let mut now = s(0);
        for pause in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            assert_eq!(logon.wanted(now), LogonAction::Take);
            logon.refused(now, true);
            assert_eq!(logon.wanted(now), LogonAction::Refuse(s(pause)));
            now += s(pause);
        }
        logon.taken(now);
        logon.forget();
        logon.refused(now, true);
        assert_eq!(logon.wanted(now), LogonAction::Refuse(s(60)));
    }

    #[test]
    fn a_taken_account_is_used_for_its_lifetime() {
        let mut logon = Logon::new(Some(s(600)));
        logon.taken(s(5));
        assert_eq!(logon.expires_at(), Some(s(605)));
        assert_eq!(logon.wanted(s(604)), LogonAction::UseTaken);
        assert_eq!(logon.wanted(s(605)), LogonAction::Take);
        let mut forever = Logon::new(None);
        forever.taken(s(0));
        assert_eq!((forever.expires_at(), logon.expires_at()), (None, None));
        assert_eq!(forever.wanted(s(1 << 30)), LogonAction::UseTaken);
    }

    #[test]
    fn a_refusal_that_costs_nothing_is_tried_again_at_once() {
        let mut logon = Logon::new(None);
        logon.refused(s(0), false);
        assert_eq!(logon.wanted(s(0)), LogonAction::Take);
    }
}
