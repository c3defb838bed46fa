//! Who may connect: limits over all services and for each. A client over a
//! limit is not refused but left waiting in the backlog; when sessions linger,
//! the oldest makes room.

use std::collections::{HashMap, VecDeque};

use super::{ServiceId, SessionId, Source};

/// What to do with a client that waits to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Accept it.
    Admit,
    /// Leave it waiting until a session ends.
    Wait,
}

/// All live sessions, counted.
#[derive(Debug)]
pub struct Admission {
    total: Room,
    services: Vec<Room>,
    /// Live sessions of each source and service. No larger than the sessions.
    sources: HashMap<(ServiceId, Source), usize>,
    sessions: HashMap<SessionId, (ServiceId, Source)>,
}

#[derive(Debug)]
struct Room {
    limit: usize,
    live: usize,
    /// Oldest first. A session that was told to make room is not in it.
    lingering: VecDeque<SessionId>,
    /// The session that was told to make room and has not ended yet. One at a
    /// time, or one waiting client would cost many their last bytes.
    leaving: Option<SessionId>,
}

impl Room {
    fn new(limit: usize) -> Self {
        Room { limit, live: 0, lingering: VecDeque::new(), leaving: None }
    }

    fn is_full(&self) -> bool {
        self.live >= self.limit
    }

    fn can_make_room(&self) -> bool {
        self.leaving.is_none() && !self.lingering.is_empty()
    }

    /// The oldest lingering session, unless one is leaving already.
    fn make_room(&mut self) -> Option<SessionId> {
        if !self.can_make_room() {
            return None;
        }
        self.leaving = self.lingering.pop_front();
        self.leaving
    }

    fn forget(&mut self, session: SessionId) {
        self.lingering.retain(|&other| other != session);
        self.leaving = self.leaving.filter(|&other| other != session);
    }
}

impl Admission {
    /// Nobody is there yet. `limits` are those of the services, in order.
    pub fn new(total: usize, limits: impl IntoIterator<Item = usize>) -> Self {
        Admission {
            total: Room::new(total),
            services: limits.into_iter().map(Room::new).collect(),
            sources: HashMap::new(),
            sessions: HashMap::new(),
        }
    }

    /// Sessions that have not ended.
    pub fn live(&self) -> usize {
        self.total.live
    }

    /// Whether a client of this service may be accepted now.
    pub fn may_connect(&self, service: ServiceId) -> Verdict {
        let full = self.services[service.0].is_full() || self.total.is_full();
        if full { Verdict::Wait } else { Verdict::Admit }
    }

    /// Whether a lingering session could make room for a client of this
    /// service, if one really waits.
    pub fn can_make_room(&self, service: ServiceId) -> bool {
        self.full_room(service).is_some_and(Room::can_make_room)
    }

    /// The session that must end at once, because a client waits for its slot.
    /// Returned once only.
    pub fn make_room(&mut self, service: ServiceId) -> Option<SessionId> {
        let room = &mut self.services[service.0];
        let session = if room.is_full() { room.make_room()? } else { self.total.make_room()? };
        // It is leaving one room and no longer to be asked in the other.
        if let Some((owner, _)) = self.sessions.get(&session) {
            self.services[owner.0].lingering.retain(|&other| other != session);
        }
        self.total.lingering.retain(|&other| other != session);
        Some(session)
    }

    fn full_room(&self, service: ServiceId) -> Option<&Room> {
        [&self.services[service.0], &self.total].into_iter().find(|room| room.is_full())
    }

    /// A session has begun. Returns how many its source has at this service now.
    pub fn begun(&mut self, session: SessionId, service: ServiceId, source: Source) -> usize {
        self.total.live += 1;
        self.services[service.0].live += 1;
        self.sessions.insert(session, (service, source));
        let count = self.sources.entry((service, source)).or_insert(0);
        *count += 1;
        *count
    }

    /// A session's program is gone, and its last bytes are being delivered.
    pub fn lingers(&mut self, session: SessionId) {
        if let Some((service, _)) = self.sessions.get(&session) {
            self.total.lingering.push_back(session);
            self.services[service.0].lingering.push_back(session);
        }
    }

    /// A session has ended, and its slot is free.
    pub fn ended(&mut self, session: SessionId) {
        let Some((service, source)) = self.sessions.remove(&session) else { return };
        for room in [&mut self.total, &mut self.services[service.0]] {
            room.live -= 1;
            room.forget(session);
        }
        if let Some(count) = self.sources.get_mut(&(service, source)) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&(service, source));
            }
        }
    }
}

/// How many sessions the descriptor limit leaves room for: each holds its
/// connection and its program, and a reserve stays for listeners, logs and
/// files.
pub fn total_from_descriptors(limit: usize, listeners: usize) -> usize {
    const EACH: usize = 2;
    const RESERVE: usize = 64;
    (limit.saturating_sub(listeners + RESERVE) / EACH).max(1)
}

/// The most connections of one service, where the total is small: no service
/// may take what all others need.
pub fn share_of_total(limit: usize, total: usize, services: usize) -> usize {
    if services <= 1 { limit } else { limit.min(total * 3 / 4).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServiceId = ServiceId(0);
    const B: ServiceId = ServiceId(1);
    const HOME: Source = Source::V4([127, 0, 0, 1]);

    #[test]
    fn a_full_service_waits_and_others_do_not() {
        let mut admission = Admission::new(10, [1, 1]);
        assert_eq!(admission.may_connect(A), Verdict::Admit);
        admission.begun(SessionId(1), A, HOME);
        assert_eq!(admission.may_connect(A), Verdict::Wait);
        assert_eq!(admission.make_room(A), None);
        assert_eq!(admission.may_connect(B), Verdict::Admit);
        admission.ended(SessionId(1));
        assert_eq!(admission.may_connect(A), Verdict::Admit);
    }

    #[test]
    fn the_oldest_lingering_session_makes_room_and_is_told_once() {
        let mut admission = Admission::new(10, [2]);
        for session in [1, 2] {
            admission.begun(SessionId(session), A, HOME);
        }
        admission.lingers(SessionId(2));
        admission.lingers(SessionId(1));
        assert_eq!(admission.make_room(A), Some(SessionId(2)));
        // Until it has gone, nobody else is asked to.
        assert_eq!(admission.make_room(A), None);
        admission.ended(SessionId(2));
        assert_eq!(admission.may_connect(A), Verdict::Admit);
        admission.begun(SessionId(3), A, HOME);
        assert_eq!(admission.make_room(A), Some(SessionId(1)));
    }

    #[test]
    fn the_total_holds_over_all_services_and_any_lingering_session_makes_room() {
        let mut admission = Admission::new(2, [9, 9]);
        admission.begun(SessionId(1), A, HOME);
        admission.begun(SessionId(2), B, HOME);
        admission.lingers(SessionId(1));
        assert_eq!(admission.make_room(B), Some(SessionId(1)));
        assert_eq!(admission.make_room(A), None);
    }

    #[test]
    fn sources_are_counted_by_service_and_forgotten_when_gone() {
        let mut admission = Admission::new(9, [9, 9]);
        assert_eq!(admission.begun(SessionId(1), A, HOME), 1);
        assert_eq!(admission.begun(SessionId(2), A, HOME), 2);
        assert_eq!(admission.begun(SessionId(3), B, HOME), 1);
        for session in 1..=3 {
            admission.ended(SessionId(session));
        }
        assert!(admission.sources.is_empty() && admission.sessions.is_empty());
        assert_eq!(admission.live(), 0);
    }

    #[test]
    fn one_service_can_not_take_the_whole_total() {
        assert_eq!(share_of_total(256, 94, 2), 70);
        assert_eq!(share_of_total(256, 94, 1), 256);
        assert_eq!(share_of_total(256, 10_000, 5), 256);
        assert_eq!(share_of_total(256, 1, 5), 1);
    }

    #[test]
    fn a_small_descriptor_limit_still_serves_one() {
        assert_eq!(total_from_descriptors(20, 4), 1);
        assert_eq!(total_from_descriptors(1024, 200), 380);
    }
}
