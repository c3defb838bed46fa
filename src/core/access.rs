//! Decides which addresses may connect. The most specific rule wins. In a tie `deny` wins, so a
//! careless `allow` cannot open a denied network.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::peer::Peer;
use crate::model::plan::Access;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Open,
    Allowed(IpNet),
    Denied(IpNet),
    /// The service has an `allow`, and no rule of it matches.
    NotAllowed,
}

impl Decision {
    pub fn admits(self) -> bool {
        matches!(self, Decision::Open | Decision::Allowed(_))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Open => formatter.write_str("no rule is about it"),
            Decision::Allowed(rule) => write!(formatter, "allow {rule}"),
            Decision::Denied(rule) => write!(formatter, "deny {rule}"),
            Decision::NotAllowed => formatter.write_str("no rule of allow matches"),
        }
    }
}

pub fn decide(access: &Access, ip: IpAddr) -> Decision {
    let ip = ip.to_canonical();
    let best = |rules: &[IpNet]| {
        rules.iter().filter(|rule| rule.contains(&ip)).max_by_key(|rule| rule.prefix_len()).copied()
    };
    let allowed = access.allow.as_deref().and_then(best);
    match (allowed, best(&access.deny)) {
        (Some(allowed), Some(denied)) if allowed.prefix_len() > denied.prefix_len() => {
            Decision::Allowed(allowed)
        }
        (_, Some(denied)) => Decision::Denied(denied),
        (Some(allowed), None) => Decision::Allowed(allowed),
        (None, None) if access.allow.is_some() => Decision::NotAllowed,
        (None, None) => Decision::Open,
    }
}

/// A peer on a `unix:` socket is always trusted: the mode of the socket let it in.
pub fn is_sender(senders: &[IpNet], peer: Peer) -> bool {
    peer.ip().is_none_or(|ip| senders.iter().any(|network| network.contains(&ip.to_canonical())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn said(allow: Option<&[&str]>, deny: &[&str], ip: &str) -> String {
        let access = Access { allow: allow.map(nets), deny: nets(deny) };
        decide(&access, ip.parse().unwrap()).to_string()
    }

    #[test]
    fn allow_accepts_only_matches_and_its_absence_accepts_all() {
        assert_eq!(said(None, &[], "192.0.2.1"), "no rule is about it");
        assert_eq!(said(Some(&["10.0.0.0/8"]), &[], "192.0.2.1"), "no rule of allow matches");
        assert_eq!(said(Some(&[]), &[], "192.0.2.1"), "no rule of allow matches");
        assert_eq!(said(Some(&["10.0.0.0/8"]), &[], "10.1.2.3"), "allow 10.0.0.0/8");
    }

    #[test]
    fn the_most_specific_match_decides_and_deny_wins_a_tie() {
        let (allow, deny) = (&["10.0.0.0/8", "10.1.2.0/24"][..], &["10.1.0.0/16", "10.0.0.0/8"][..]);
        assert_eq!(said(Some(allow), deny, "10.1.2.3"), "allow 10.1.2.0/24");
        assert_eq!(said(Some(allow), deny, "10.1.3.3"), "deny 10.1.0.0/16");
        assert_eq!(said(Some(allow), deny, "10.9.9.9"), "deny 10.0.0.0/8");
    }

    #[test]
    fn families_are_kept_apart_and_a_mapped_address_is_the_ipv4_one() {
        assert_eq!(said(None, &["0.0.0.0/0"], "2001:db8::1"), "no rule is about it");
        assert_eq!(said(None, &["192.0.2.0/24"], "::ffff:192.0.2.1"), "deny 192.0.2.0/24");
    }
}
