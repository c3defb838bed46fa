//! Tests of single admission rules; `tests/simulation.rs` combines them.

use super::*;
use crate::model::limits::Rate;
use crate::model::plan::Access;

const A: ServiceId = ServiceId(1);
const B: ServiceId = ServiceId(2);
const START: Duration = Duration::ZERO;

fn from(ip: &str) -> Peer {
    Peer::Inet((ip.parse::<IpAddr>().unwrap(), 7).into())
}

fn home() -> Peer {
    from("127.0.0.1")
}

fn admission(total: usize, services: &[(ServiceId, Admit)]) -> Admission {
    let mut admission = Admission::new(total);
    admission.configure(total, services.iter().map(|(id, admit)| (*id, admit, admit.max_connections)));
    admission
}

fn most(max_connections: usize) -> Admit {
    Admit { max_connections, ..Admit::default() }
}

fn begin(admission: &mut Admission, session: u64, service: ServiceId, peer: Peer) -> Result<Ticket, String> {
    let admitted = admission.admit(SessionId(session), service, Stage::Program(peer), START);
    admitted.map_err(|reason| reason.to_string())
}

fn end(admission: &mut Admission, tickets: Vec<Ticket>) {
    for ticket in tickets {
        admission.ended(ticket, START);
    }
}

#[test]
fn a_full_service_waits_and_others_do_not() {
    let mut admission = admission(10, &[(A, most(1)), (B, most(1))]);
    assert_eq!(admission.may_connect(A, START), Connect::Accept);
    let ticket = begin(&mut admission, 1, A, home()).unwrap();
    assert_eq!(admission.may_connect(A, START), Connect::Wait);
    assert_eq!(admission.evict(A, START), None);
    assert_eq!(admission.may_connect(B, START), Connect::Accept);
    admission.ended(ticket, START);
    assert_eq!(admission.may_connect(A, START), Connect::Accept);
}

#[test]
fn a_full_service_refuses_where_it_is_to() {
    let mut admission = admission(10, &[(A, Admit { when_full: WhenFull::Refuse, ..most(1) })]);
    let ticket = begin(&mut admission, 1, A, home()).unwrap();
    assert_eq!(admission.may_connect(A, START), Connect::Accept);
    assert_eq!(begin(&mut admission, 2, A, home()).unwrap_err(), "max_connections");
    admission.lingers(&ticket);
    assert_eq!(admission.may_connect(A, START), Connect::Wait);
    assert_eq!(admission.evict(A, START), Some(SessionId(1)));
    assert_eq!(admission.may_connect(A, START), Connect::Wait);
}

#[test]
fn the_oldest_lingering_session_is_evicted_once() {
    let mut admission = admission(10, &[(A, most(2))]);
    let first = begin(&mut admission, 1, A, home()).unwrap();
    let second = begin(&mut admission, 2, A, home()).unwrap();
    admission.lingers(&second);
    admission.lingers(&first);
    assert_eq!(admission.evict(A, START), Some(SessionId(2)));
    assert_eq!(admission.evict(A, START), None);
    admission.ended(second, START);
    assert_eq!(admission.may_connect(A, START), Connect::Accept);
    let _third = begin(&mut admission, 3, A, home()).unwrap();
    assert_eq!(admission.evict(A, START), Some(SessionId(1)));
}

#[test]
fn the_total_holds_over_all_services_and_evicts_any_session() {
    let mut admission = admission(2, &[(A, most(9)), (B, most(9))]);
    let first = begin(&mut admission, 1, A, home()).unwrap();
    let _second = begin(&mut admission, 2, B, home()).unwrap();
    assert_eq!(begin(&mut admission, 3, B, home()).unwrap_err(), "max_connections");
    admission.lingers(&first);
    assert_eq!(admission.evict(B, START), Some(SessionId(1)));
    assert_eq!(admission.evict(A, START), None);
}

#[test]
fn source_limit_is_per_service_and_forgotten_when_unused() {
    let admit = Admit { max_connections_per_source: Some(2), ..most(9) };
    let mut admission = admission(9, &[(A, admit.clone()), (B, admit)]);
    let first = [1, 2].map(|session| begin(&mut admission, session, A, home()).unwrap());
    assert_eq!(begin(&mut admission, 3, A, home()).unwrap_err(), "max_connections_per_source = 2");
    let others = [(3, A, from("127.0.0.2")), (4, B, home())];
    let others =
        others.map(|(session, service, peer)| begin(&mut admission, session, service, peer).unwrap());
    let tickets: Vec<Ticket> = first.into_iter().chain(others).collect();
    assert_eq!(tickets.iter().map(Ticket::connections).collect::<Vec<_>>(), [1, 2, 1, 1]);
    end(&mut admission, tickets);
    assert!(admission.sources.is_empty());
    assert_eq!(admission.live(), 0);
}

#[test]
fn rate_limit_delays_or_refuses_as_configured() {
    let rate = Some(Rate { count: 1, per: Duration::from_secs(10) });
    let refuses = Admit { rate, when_full: WhenFull::Refuse, ..most(9) };
    let mut admission = admission(9, &[(A, Admit { rate, ..most(9) }), (B, refuses)]);
    let _first = begin(&mut admission, 1, A, home()).unwrap();
    let _second = begin(&mut admission, 2, B, home()).unwrap();
    assert_eq!(admission.may_connect(A, START), Connect::WaitFor(Duration::from_secs(10)));
    assert_eq!(admission.may_connect(B, START), Connect::Accept);
    assert_eq!(begin(&mut admission, 3, B, home()).unwrap_err(), "rate = 1 in 10s");
    assert_eq!(admission.may_connect(A, Duration::from_secs(10)), Connect::Accept);
}

#[test]
fn refused_connection_consumes_no_slot_and_no_token() {
    let access = Access { allow: None, deny: vec!["192.0.2.0/24".parse().unwrap()] };
    let rate = Some(Rate { count: 2, per: Duration::from_mins(1) });
    let mut admission = admission(9, &[(A, Admit { access, rate, rate_per_source: rate, ..most(9) })]);
    for session in 1..50 {
        assert_eq!(begin(&mut admission, session, A, from("192.0.2.7")).unwrap_err(), "deny 192.0.2.0/24");
    }
    let _first = begin(&mut admission, 50, A, home()).unwrap();
    let _second = begin(&mut admission, 51, A, from("127.0.0.2")).unwrap();
    assert_eq!(admission.live(), 2);
}

#[test]
fn failing_service_is_paused_and_one_client_probes_it() {
    let mut admission = admission(9, &[(A, most(9)), (B, most(9))]);
    let ticket = begin(&mut admission, 1, A, home()).unwrap();
    assert_eq!(admission.failed(&ticket, "exec", START), Some(Duration::from_secs(1)));
    admission.ended(ticket, START);
    assert_eq!(admission.may_connect(A, START), Connect::Accept);
    assert!(begin(&mut admission, 2, A, home()).unwrap_err().starts_with("paused"));
    assert_eq!(admission.pause_of(A, START), Some(("exec", Duration::from_secs(1))));
    let _other = begin(&mut admission, 3, B, home()).unwrap();
    let later = Duration::from_secs(1);
    let probe = admission.admit(SessionId(4), A, Stage::Program(home()), later).unwrap();
    assert!(probe.is_probe());
    assert_eq!(admission.may_connect(A, later), Connect::Wait);
    assert!(admission.worked(&probe));
    assert!(!admission.admit(SessionId(5), A, Stage::Program(home()), later).unwrap().is_probe());
}

#[test]
fn new_limits_apply_and_live_sessions_stay_counted() {
    let mut admission = admission(9, &[(A, most(5))]);
    let tickets = [1, 2, 3].map(|session| begin(&mut admission, session, A, home()).unwrap());
    admission.configure(9, [(A, &most(2), 2), (B, &most(2), 2)]);
    assert_eq!((admission.live_of(A), admission.may_connect(A, START)), (3, Connect::Wait));
    // A removed service stays until its last session ends.
    admission.configure(9, [(B, &most(2), 2)]);
    assert_eq!(admission.live(), 3);
    end(&mut admission, tickets.into());
    assert_eq!((admission.live(), admission.services.len()), (0, 1));
}
