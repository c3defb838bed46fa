//! Says what would happen to a client, and which rule or limit decides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::is_sender;
use super::admission::{Admission, Connect};
use super::refusals::Reason;
use crate::model::ids::ServiceId;
use crate::model::peer::Peer;
use crate::model::plan::Service;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Admit,
    Wait,
    Refuse,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Admit => "admit",
            Verdict::Wait => "wait",
            Verdict::Refuse => "refuse",
        }
    }
}

pub fn explain(admission: &Admission, service: ServiceId, peer: Peer, now: Duration) -> (Verdict, String) {
    let refusal = admission.refusal(service, peer, now);
    // Comes first: a client in the backlog is not accepted, so its address is not known.
    match (admission.may_connect(service, now), &refusal) {
        (Connect::WaitFor(wait), _) => {
            let seconds = wait.as_secs_f64().ceil();
            return (Verdict::Wait, format!("rate: the next client is accepted within {seconds} s"));
        }
        (Connect::Wait, Some(Reason::Paused(_))) => {
            return (Verdict::Wait, "one client tries whether the service works again".to_owned());
        }
        (Connect::Wait, _) => return (Verdict::Wait, "max_connections: all slots are taken".to_owned()),
        (Connect::Accept, _) => {}
    }
    match (refusal, peer.ip().and_then(|ip| admission.decision(service, ip))) {
        (Some(reason), _) => (Verdict::Refuse, reason.to_string()),
        (None, Some(decision)) => (Verdict::Admit, decision.to_string()),
        (None, None) => (Verdict::Admit, "the mode of the socket".to_owned()),
    }
}

/// Behind a proxy the rules apply to the client that a header names.
pub fn behind_proxy(because: String, service: &Service, peer: Peer) -> String {
    let Some(senders) = &service.proxy_protocol else { return because };
    match is_sender(senders, peer) {
        true => format!("{because} (if a header names it; the address itself is a trusted sender)"),
        false => format!("{because} (if the header of a sender names it; otherwise it is closed)"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::Stage;
    use super::*;
    use crate::model::ids::SessionId;
    use crate::model::limits::Rate;
    use crate::model::plan::{Access, Admit};

    const A: ServiceId = ServiceId(1);

    fn said(admission: &Admission, ip: &str) -> String {
        let peer = Peer::Inet((ip.parse::<std::net::IpAddr>().unwrap(), 0).into());
        let (verdict, why) = explain(admission, A, peer, Duration::ZERO);
        format!("{}: {why}", verdict.name())
    }

    #[test]
    fn the_rule_or_limit_that_decides_is_named() {
        let access = Access {
            allow: Some(vec!["192.0.2.0/24".parse().unwrap()]),
            deny: vec!["192.0.2.7/32".parse().unwrap()],
        };
        let rate_per_source = Some(Rate { count: 1, per: Duration::from_mins(1) });
        let admit = Admit { access, rate_per_source, max_connections: 2, ..Admit::default() };
        let mut admission = Admission::new(9);
        admission.configure(9, [(A, &admit, 2)]);
        assert_eq!(said(&admission, "192.0.2.1"), "admit: allow 192.0.2.0/24");
        assert_eq!(said(&admission, "192.0.2.7"), "refuse: deny 192.0.2.7/32");
        assert_eq!(said(&admission, "10.0.0.1"), "refuse: no rule of allow matches");
        let peer = |last| Peer::Inet(([192, 0, 2, last], 7).into());
        let _first = admission.admit(SessionId(1), A, Stage::Program(peer(1)), Duration::ZERO).unwrap();
        assert_eq!(said(&admission, "192.0.2.1"), "refuse: rate_per_source = 1/m");
        assert_eq!(said(&admission, "192.0.2.2"), "admit: allow 192.0.2.0/24");
        let _second = admission.admit(SessionId(2), A, Stage::Program(peer(2)), Duration::ZERO).unwrap();
        assert_eq!(said(&admission, "192.0.2.3"), "wait: max_connections: all slots are taken");
    }
}
