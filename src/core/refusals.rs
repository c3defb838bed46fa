//! Why clients are turned away, and which of these are worth a line of their
//! own: the first few, then now and then one; the others are counted, and told
//! as a number. So a flood costs a line a second, and nothing is missing.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::rate::Bucket;
use crate::model::ids::ServiceId;
use crate::model::limits::Rate;

/// Why a client was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A rule keeps its address out.
    Denied(IpNet),
    /// No rule lets its address in.
    NotAllowed,
    /// It is not one whose PROXY header is believed.
    NotASender,
    /// The service fails by itself and is paused for so long.
    Paused(Duration),
    /// All places are taken, and the service refuses then.
    Full,
    /// Its source has all the places that one source may have.
    SourceFull(usize),
    /// Connections begin too often, and the service refuses then.
    Rate(Rate),
    /// They do from its source.
    SourceRate(Rate),
}

impl Reason {
    /// Its kind, in one word, for what is counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Reason::Denied(_) | Reason::NotAllowed | Reason::NotASender => "denied",
            Reason::Paused(_) => "paused",
            Reason::Full => "full",
            Reason::SourceFull(_) => "source full",
            Reason::Rate(_) => "rate",
            Reason::SourceRate(_) => "source rate",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Denied(rule) => write!(formatter, "deny {rule}"),
            Reason::NotAllowed => formatter.write_str("no rule of allow matches"),
            Reason::NotASender => formatter.write_str("not a sender of proxy_protocol"),
            Reason::Paused(rest) => {
                let seconds = rest.as_secs_f64().ceil();
                write!(formatter, "paused, since the service fails by itself: {seconds} s more")
            }
            Reason::Full => formatter.write_str("max_connections"),
            Reason::SourceFull(most) => write!(formatter, "max_connections_per_source = {most}"),
            Reason::Rate(rate) => write!(formatter, "rate = {rate}"),
            Reason::SourceRate(rate) => write!(formatter, "rate_per_source = {rate}"),
        }
    }
}

/// Ten lines at once, then one in two seconds; a number beside it, that makes
/// one line a second for each service and kind.
const LINES: Rate = Rate { count: 10, per: Duration::from_secs(20) };
/// Numbers are told this often.
pub const TOLD_EVERY: Duration = Duration::from_secs(2);

/// What was refused and has no line of its own yet.
#[derive(Debug, Default)]
pub struct Refusals {
    seen: HashMap<(ServiceId, &'static str), Seen>,
}

#[derive(Debug)]
struct Seen {
    lines: Bucket,
    silent: u64,
}

impl Refusals {
    /// One more. True if it gets a line; false if it is counted.
    pub fn refused(&mut self, service: ServiceId, reason: &Reason, now: Duration) -> bool {
        let new = || Seen { lines: Bucket::new(LINES), silent: 0 };
        let seen = self.seen.entry((service, reason.kind())).or_insert_with(new);
        let line = seen.lines.take(now);
        seen.silent += u64::from(!line);
        line
    }

    /// Whether some are counted that were not told.
    pub fn are_silent(&self) -> bool {
        self.seen.values().any(|seen| seen.silent > 0)
    }

    /// The numbers of those that were not told, which are told now.
    pub fn tell(&mut self) -> Vec<(ServiceId, &'static str, u64)> {
        let silent = self.seen.iter_mut().filter(|(_, seen)| seen.silent > 0);
        let mut told: Vec<_> = silent
            .map(|(&(service, kind), seen)| (service, kind, std::mem::take(&mut seen.silent)))
            .collect();
        told.sort_unstable();
        told
    }

    /// A service is gone.
    pub fn forget(&mut self, service: ServiceId) {
        self.seen.retain(|(other, _), _| *other != service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_have_lines_and_a_flood_is_told_as_a_number() {
        let mut refusals = Refusals::default();
        let service = ServiceId(1);
        let lines = (0..1000).filter(|_| refusals.refused(service, &Reason::Full, Duration::ZERO)).count();
        assert_eq!(lines, 10);
        // Another cause has lines of its own.
        assert!(refusals.refused(service, &Reason::NotAllowed, Duration::ZERO));
        assert_eq!(refusals.tell(), [(service, "full", 990)]);
        assert!(!refusals.are_silent() && refusals.tell().is_empty());
    }

    #[test]
    fn a_reason_names_the_rule_or_limit_and_how_it_is_typed() {
        let reasons = [
            Reason::Denied("10.0.0.0/8".parse().unwrap()),
            Reason::SourceFull(4),
            Reason::SourceRate(Rate { count: 10, per: Duration::from_mins(1) }),
            Reason::Paused(Duration::from_millis(1500)),
        ];
        let shown: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown[..3],
            ["deny 10.0.0.0/8", "max_connections_per_source = 4", "rate_per_source = 10/m"]
        );
        assert_eq!(shown[3], "paused, since the service fails by itself: 2 s more");
    }
}
