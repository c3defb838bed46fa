//! Token buckets. A bucket is the time at which it will be full, so a source with a full bucket
//! takes no memory.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::ids::ServiceId;
use crate::model::limits::Rate;
use crate::model::peer::ClientSource;

/// A burst may take all tokens of one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    rate: Rate,
    full_at: Duration,
}

/// Returns the new time at which the bucket is full, or the wait for a token as the error.
fn look(rate: Rate, full_at: Duration, now: Duration) -> Result<Duration, Duration> {
    // After a change of the rate, the wait is limited by the new rate.
    let full_at = full_at.clamp(now, now.saturating_add(rate.per));
    let taken = full_at.saturating_add(rate.per / rate.count.max(1));
    match taken.checked_sub(now.saturating_add(rate.per)) {
        None | Some(Duration::ZERO) => Ok(taken),
        Some(wait) => Err(wait),
    }
}

impl Bucket {
    pub fn new(rate: Rate) -> Self {
        Bucket { rate, full_at: Duration::ZERO }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The wait for a token; `None` if there is one.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        look(self.rate, self.full_at, now).err()
    }

    /// Returns a token that was not used, unless the bucket has already refilled it.
    pub fn give_back(&mut self, taken: Duration, now: Duration) {
        let time_of_one = self.rate.per / self.rate.count.max(1);
        if now < taken.saturating_add(time_of_one) {
            self.full_at = self.full_at.saturating_sub(time_of_one);
        }
    }

    /// Takes a token. Returns false if there was none.
    pub fn take(&mut self, now: Duration) -> bool {
        let taken = look(self.rate, self.full_at, now);
        self.full_at = taken.unwrap_or(self.full_at);
        taken.is_ok()
    }
}

/// Remembered sources per generation; two take a few megabytes. A flood of sources makes the
/// server forget the quietest, and refuses no client because of others.
const MOST: usize = 32_768;

#[derive(Debug, Default)]
pub struct SourceBuckets {
    /// Sources used of late. When it is full, it becomes `old`.
    young: HashMap<(ServiceId, ClientSource), Duration>,
    old: HashMap<(ServiceId, ClientSource), Duration>,
}

impl SourceBuckets {
    /// The wait for a token of this source; `None` if there is one.
    pub fn wait(&self, rate: Rate, key: (ServiceId, ClientSource), now: Duration) -> Option<Duration> {
        look(rate, self.full_at(key), now).err()
    }

    /// Takes a token. Returns false if there was none.
    pub fn take(&mut self, rate: Rate, key: (ServiceId, ClientSource), now: Duration) -> bool {
        let Ok(taken) = look(rate, self.full_at(key), now) else { return false };
        if self.young.len() >= MOST && !self.young.contains_key(&key) {
            self.turn(now);
        }
        self.old.remove(&key);
        self.young.insert(key, taken);
        true
    }

    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn full_at(&self, key: (ServiceId, ClientSource)) -> Duration {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied().unwrap_or_default()
    }

    fn turn(&mut self, now: Duration) {
        // A full bucket need not be remembered.
        self.young.retain(|_, full_at| *full_at > now);
        if self.young.len() >= MOST / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.shrink_to(MOST / 2);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const TEN_A_MINUTE: Rate = Rate { count: 10, per: Duration::from_mins(1) };
    const SERVICE: ServiceId = ServiceId(1);

    #[test]
    fn a_period_s_worth_comes_at_once_and_then_evenly() {
        let mut bucket = Bucket::new(TEN_A_MINUTE);
        assert_eq!((0..20).filter(|_| bucket.take(ms(1000))).count(), 10);
        assert_eq!(bucket.wait(ms(1000)), Some(ms(6000)));
        assert!(!bucket.take(ms(6999)) && bucket.take(ms(7000)) && !bucket.take(ms(7000)));
    }

    #[test]
    fn a_quiet_bucket_fills_again_and_never_over_its_brim() {
        let mut bucket = Bucket::new(TEN_A_MINUTE);
        while bucket.take(ms(0)) {}
        assert_eq!((0..99).filter(|_| bucket.take(ms(10 * 60_000))).count(), 10);
    }

    #[test]
    fn sources_do_not_take_from_each_other() {
        let mut sources = SourceBuckets::default();
        let key = |last| (SERVICE, ClientSource::V4([192, 0, 2, last]));
        while sources.take(TEN_A_MINUTE, key(1), ms(0)) {}
        assert!(sources.wait(TEN_A_MINUTE, key(1), ms(0)).is_some());
        assert!(sources.take(TEN_A_MINUTE, key(2), ms(0)));
        assert!(sources.take(TEN_A_MINUTE, (ServiceId(2), ClientSource::V4([192, 0, 2, 1])), ms(0)));
    }

    #[test]
    fn a_rate_that_has_changed_is_waited_for_as_it_says_now() {
        let mut sources = SourceBuckets::default();
        let key = (SERVICE, ClientSource::V4([192, 0, 2, 1]));
        assert!(sources.take(Rate { count: 1, per: Duration::from_hours(1) }, key, ms(0)));
        let now = Rate { count: 100, per: Duration::from_secs(1) };
        assert_eq!(sources.wait(now, key, ms(0)), Some(ms(10)));
    }

    #[test]
    fn source_flood_uses_bounded_memory_and_refuses_no_new_source() {
        let mut sources = SourceBuckets::default();
        for number in 0..300_000u32 {
            assert!(sources.take(TEN_A_MINUTE, (SERVICE, ClientSource::V4(number.to_be_bytes())), ms(1)));
            assert!(sources.len() <= 2 * MOST);
        }
        let last = (SERVICE, ClientSource::V4(299_999u32.to_be_bytes()));
        assert_eq!((0..20).filter(|_| sources.take(TEN_A_MINUTE, last, ms(1))).count(), 9);
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_a_burst_and_its_share(
            count in 1u32..20, per in 1u64..5000, gaps in proptest::collection::vec(0u64..900, 1..200)
        ) {
            let rate = Rate { count, per: ms(per) };
            let mut bucket = Bucket::new(rate);
            let mut now = Duration::ZERO;
            let mut taken = Vec::new();
            for gap in gaps {
                now += ms(gap);
                let wait = bucket.wait(now);
                let took = bucket.take(now);
                prop_assert_eq!(wait.is_none(), took);
                if took {
                    taken.push(now);
                }
            }
            for (at, from) in taken.iter().enumerate() {
                for (further, to) in taken[at..].iter().enumerate() {
                    let share = (*to - *from).as_secs_f64() / rate.per.as_secs_f64() * f64::from(count);
                    prop_assert!(further as f64 <= f64::from(count) + share);
                }
            }
        }
    }
}
