//! Access rules and rate limits, implemented a second time as simply as possible.

use std::time::Duration;

use wininetd::model::limits::Rate;
use wininetd::model::peer::Peer;
use wininetd::model::plan::Access;

/// The longest prefix decides. At equal length, deny wins.
pub fn allowed(access: &Access, peer: Peer) -> bool {
    let Some(ip) = peer.ip() else { return true };
    let longest = |rules: &[ipnet::IpNet]| {
        (0..=128u8)
            .rev()
            .find(|&length| rules.iter().any(|rule| rule.prefix_len() == length && rule.contains(&ip)))
    };
    let denied = longest(&access.deny);
    match (&access.allow, denied) {
        (None, denied) => denied.is_none(),
        (Some(allow), None) => longest(allow).is_some(),
        (Some(allow), Some(denied)) => longest(allow).is_some_and(|length| length > denied),
    }
}

/// Checks that no time window has more starts than the burst and its share of the rate.
pub fn holds(rate: Rate, begins: &[Duration]) {
    let last = *begins.last().unwrap();
    for (place, first) in begins.iter().enumerate() {
        let count = (begins.len() - place) as f64 - 1.0;
        let share = (last - *first).as_secs_f64() / rate.per.as_secs_f64() * f64::from(rate.count);
        assert!(count <= f64::from(rate.count) + share, "the rate");
    }
}
