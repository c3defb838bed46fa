//! Why clients are refused, and how many refusals get their own record.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::limits::Rate;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Denied(IpNet),
    NotAllowed,
    /// The peer is no trusted sender of PROXY headers.
    NotASender,
    Paused(Duration),
    Full,
    SourceFull(usize),
    Rate(Rate),
    SourceRate(Rate),
}

impl Reason {
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
                write!(formatter, "paused, because the service keeps failing: {seconds} s more")
            }
            Reason::Full => formatter.write_str("max_connections"),
            Reason::SourceFull(most) => write!(formatter, "max_connections_per_source = {most}"),
            Reason::Rate(rate) => write!(formatter, "rate = {rate}"),
            Reason::SourceRate(rate) => write!(formatter, "rate_per_source = {rate}"),
        }
    }
}

/// Per service and reason: ten records at once, then one in two seconds.
pub const RECORDS: Rate = Rate { count: 10, per: Duration::from_secs(20) };
pub const TOLD_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(shown[3], "paused, because the service keeps failing: 2 s more");
    }
}
