//! A limit of connections, and which lingering session is evicted when it is reached.

use std::collections::VecDeque;

use crate::model::ids::{ServiceId, SessionId};

#[derive(Debug)]
pub(super) struct Slots {
    pub(super) limit: usize,
    pub(super) live: usize,
    /// Oldest first, without the evicted session.
    lingering: VecDeque<(ServiceId, SessionId)>,
    /// Only one at a time, or one waiting client could cut off the last bytes of many.
    evicted: Option<SessionId>,
}

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        Slots { limit, live: 0, lingering: VecDeque::new(), evicted: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.live >= self.limit
    }

    pub(super) fn can_evict(&self) -> bool {
        self.evicted.is_none() && !self.lingering.is_empty()
    }

    pub(super) fn is_evicting(&self) -> bool {
        self.evicted.is_some()
    }

    pub(super) fn lingers(&mut self, service: ServiceId, session: SessionId) {
        self.lingering.push_back((service, session));
    }

    pub(super) fn evict(&mut self) -> Option<(ServiceId, SessionId)> {
        if !self.can_evict() {
            return None;
        }
        let oldest = self.lingering.pop_front();
        self.evicted = oldest.map(|(_, session)| session);
        oldest
    }

    pub(super) fn lingers_no_more(&mut self, session: SessionId) {
        self.lingering.retain(|&(_, other)| other != session);
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.lingers_no_more(session);
        self.evicted = self.evicted.filter(|&other| other != session);
    }
}
