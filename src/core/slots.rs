//! Room for so many connections at once, and which lingering session gives up
//! its place when there is none.

use std::collections::VecDeque;

use crate::model::ids::SessionId;

/// The places of a service, or of all services together.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) limit: usize,
    pub(super) live: usize,
    /// Oldest first. A session that was told to make room is not in it.
    lingering: VecDeque<SessionId>,
    /// The session that was told to make room and has not ended yet. One at a
    /// time, or one waiting client would cost many their last bytes.
    leaving: Option<SessionId>,
}

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        Slots { limit, live: 0, lingering: VecDeque::new(), leaving: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.live >= self.limit
    }

    pub(super) fn can_make_room(&self) -> bool {
        self.leaving.is_none() && !self.lingering.is_empty()
    }

    /// Whether a place is being given up already.
    pub(super) fn is_making_room(&self) -> bool {
        self.leaving.is_some()
    }

    pub(super) fn lingers(&mut self, session: SessionId) {
        self.lingering.push_back(session);
    }

    /// The oldest lingering session, unless one is leaving already.
    pub(super) fn make_room(&mut self) -> Option<SessionId> {
        if !self.can_make_room() {
            return None;
        }
        self.leaving = self.lingering.pop_front();
        self.leaving
    }

    /// It is leaving another room.
    pub(super) fn lingers_no_more(&mut self, session: SessionId) {
        self.lingering.retain(|&other| other != session);
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.lingers_no_more(session);
        self.leaving = self.leaving.filter(|&other| other != session);
    }
}
