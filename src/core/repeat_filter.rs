//! Limits repeated log lines. The number of suppressed lines is logged, so nothing goes
//! unnoticed.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use super::rate::Bucket;
use crate::model::limits::Rate;

#[derive(Debug)]
pub struct LineBudget {
    bucket: Bucket,
    suppressed: u64,
}

impl LineBudget {
    pub fn new(rate: Rate) -> Self {
        LineBudget { bucket: Bucket::new(rate), suppressed: 0 }
    }

    /// Counts a line that is not allowed. `now` is the time since any fixed moment.
    pub fn allow(&mut self, now: Duration) -> bool {
        let allowed = self.bucket.take(now);
        if !allowed {
            self.suppress();
        }
        allowed
    }

    pub fn suppress(&mut self) {
        self.suppressed = self.suppressed.saturating_add(1);
    }

    pub fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }
}

/// After a recovery, a kind may log again this long after its last line.
const AFTER_RECOVERY: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub struct RepeatFilter<K> {
    rate: Rate,
    kinds: HashMap<K, RepeatedKind>,
}

#[derive(Debug)]
struct RepeatedKind {
    budget: LineBudget,
    last: Duration,
    recovered: bool,
}

impl<K: Clone + Eq + Hash + Ord> RepeatFilter<K> {
    pub fn new(rate: Rate) -> Self {
        RepeatFilter { rate, kinds: HashMap::new() }
    }

    pub fn allow(&mut self, kind: K, now: Duration) -> bool {
        let full = LineBudget::new(self.rate);
        let kind =
            self.kinds.entry(kind).or_insert(RepeatedKind { budget: full, last: now, recovered: false });
        if kind.recovered && now >= kind.last + AFTER_RECOVERY {
            kind.budget.bucket = Bucket::new(self.rate);
        }
        let allowed = kind.budget.allow(now);
        if allowed {
            (kind.last, kind.recovered) = (now, false);
        }
        allowed
    }

    pub fn recover(&mut self, works: impl Fn(&K) -> bool) {
        for (_, kind) in self.kinds.iter_mut().filter(|(kind, _)| works(kind)) {
            kind.recovered = true;
        }
    }

    pub fn take_suppressed(&mut self, kind: &K) -> u64 {
        self.kinds.get_mut(kind).map_or(0, |kind| kind.budget.take_suppressed())
    }

    pub fn take_all_suppressed(&mut self) -> Vec<(K, u64)> {
        let all = self.kinds.iter_mut().map(|(kind, seen)| (kind.clone(), seen.budget.take_suppressed()));
        let mut all: Vec<_> = all.filter(|(_, suppressed)| *suppressed > 0).collect();
        all.sort_unstable();
        all
    }

    pub fn any_suppressed(&self) -> bool {
        self.kinds.values().any(|kind| kind.budget.suppressed > 0)
    }

    pub fn forget(&mut self, gone: impl Fn(&K) -> bool) {
        self.kinds.retain(|kind, _| !gone(kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn hourly() -> RepeatFilter<&'static str> {
        RepeatFilter::new(Rate { count: 1, per: Duration::from_hours(1) })
    }

    #[test]
    fn a_budget_has_a_burst_and_then_its_rate_and_counts_the_rest() {
        let mut budget = LineBudget::new(Rate { count: 100, per: SECOND * 10 });
        let ms = |ms| SECOND * 7 + Duration::from_millis(ms);
        let allowed = |budget: &mut LineBudget, now| (0..1000).filter(|_| budget.allow(now)).count();
        assert_eq!(allowed(&mut budget, ms(0)), 100);
        assert_eq!((budget.take_suppressed(), budget.take_suppressed()), (900, 0));
        assert_eq!((1..=1000).filter(|now| budget.allow(ms(*now))).count(), 10);
        assert_eq!(budget.take_suppressed(), 990);
        assert_eq!(allowed(&mut budget, ms(3_600_000)), 100);
    }

    #[test]
    fn each_kind_has_its_first_line_then_one_an_hour() {
        let mut filter = hourly();
        assert!(filter.allow("exec", SECOND) && filter.allow("logon", SECOND));
        assert!((2..3601).all(|second| !filter.allow("exec", SECOND * second)));
        assert!(filter.allow("exec", SECOND * 3601));
        assert_eq!((filter.take_suppressed(&"exec"), filter.take_suppressed(&"logon")), (3599, 0));
    }

    #[test]
    fn a_recovered_kind_has_a_line_a_minute_after_its_last() {
        let mut filter = hourly();
        assert!(filter.allow("exec", SECOND) && filter.allow("logon", SECOND));
        filter.recover(|kind| *kind == "exec");
        assert!(!filter.allow("exec", SECOND * 60) && filter.allow("exec", SECOND * 61));
        // Once only: there was no second recovery.
        assert!(!filter.allow("exec", SECOND * 121) && !filter.allow("logon", SECOND * 121));
    }

    #[test]
    fn suppressed_counts_of_all_kinds_are_taken_once() {
        let mut filter = hourly();
        for kind in ["b", "a", "c", "a", "b", "a"] {
            filter.allow(kind, SECOND);
        }
        assert!(filter.any_suppressed());
        assert_eq!(filter.take_all_suppressed(), [("a", 2), ("b", 1)]);
        assert!(!filter.any_suppressed() && filter.take_all_suppressed().is_empty());
        filter.forget(|kind| *kind == "a");
        assert!(filter.allow("a", SECOND) && !filter.allow("b", SECOND));
    }
}
