//! Which of many like failures an administrator is shown: the first of each
//! cause, then one an hour, and sooner once it had worked meanwhile. So that
//! neither a broken service nor a client can fill the system's log.

use std::collections::HashMap;
use std::time::Duration;

/// What goes on failing is shown again after this long,
const AGAIN_AFTER: Duration = Duration::from_hours(1);
/// and what had worked in between after this long.
const ANEW_AFTER: Duration = Duration::from_mins(1);

/// Failures that were shown. As many as there are services and causes.
#[derive(Debug, Default)]
pub struct Firsts {
    shown: HashMap<(String, &'static str), Shown>,
}

#[derive(Debug)]
struct Shown {
    at: Duration,
    /// Failures like it that were not shown since.
    silent: u64,
    worked: bool,
}

impl Firsts {
    /// Something of this subject failed by this cause. Whether to show it, and
    /// how many like it were not shown since the last.
    pub fn failed(&mut self, subject: &str, cause: &'static str, now: Duration) -> Option<u64> {
        let shown = self.shown.entry((subject.to_owned(), cause));
        let std::collections::hash_map::Entry::Occupied(mut shown) = shown else {
            shown.insert_entry(Shown { at: now, silent: 0, worked: false });
            return Some(0);
        };
        let shown = shown.get_mut();
        let wait = if shown.worked { ANEW_AFTER } else { AGAIN_AFTER };
        if now < shown.at + wait {
            shown.silent += 1;
            return None;
        }
        let silent = shown.silent;
        *shown = Shown { at: now, silent: 0, worked: false };
        Some(silent)
    }

    /// It works, for all that is known.
    pub fn worked(&mut self, subject: &str) {
        for ((other, _), shown) in &mut self.shown {
            shown.worked |= other == subject;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_of_each_cause_is_shown_then_one_an_hour_with_their_number() {
        let mut firsts = Firsts::default();
        assert_eq!(firsts.failed("80", "exec", SECOND), Some(0));
        assert_eq!(firsts.failed("80", "logon", SECOND), Some(0));
        assert_eq!(firsts.failed("81", "exec", SECOND), Some(0));
        let shown = (2..3601).filter(|&second| firsts.failed("80", "exec", SECOND * second).is_some());
        assert_eq!(shown.count(), 0);
        assert_eq!(firsts.failed("80", "exec", SECOND * 3601), Some(3599));
    }

    #[test]
    fn what_had_worked_is_shown_anew_but_not_each_time() {
        let mut firsts = Firsts::default();
        firsts.failed("80", "exec", SECOND);
        firsts.worked("80");
        assert_eq!(firsts.failed("80", "exec", SECOND * 2), None);
        assert_eq!(firsts.failed("80", "exec", SECOND * 61), Some(1));
    }
}
