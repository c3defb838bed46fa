//! What one service admits: its limits, and the sessions that are still at a header or
//! handshake.

use std::collections::VecDeque;
use std::time::Duration;

use super::rate::Bucket;
use super::slots::Slots;
use super::throttle::Throttle;
use crate::model::ids::SessionId;
use crate::model::plan::Admit;

/// What one service admits.
#[derive(Debug)]
pub(super) struct ServiceAdmission {
    pub(super) admit: Admit,
    pub(super) slots: Slots,
    pub(super) bucket: Option<Bucket>,
    pub(super) throttle: Throttle,
    /// Sessions that are still at their header or handshake, oldest first, and
    /// since when.
    pub(super) preludes: VecDeque<(SessionId, Duration)>,
    /// It is gone from the configuration; its last sessions are not.
    pub(super) retired: bool,
}

/// Headers and handshakes of one service at once: clients that never finish
/// theirs must not take all slots.
const MOST_PRELUDES: usize = 64;

/// A header or handshake that takes longer gives up its slot when a client waits for it.
const PRELUDE_PATIENCE: Duration = Duration::from_secs(1);

impl ServiceAdmission {
    /// How long until the oldest prelude may be asked for its slot, where all slots of
    /// preludes are taken.
    pub(super) fn prelude_in_the_way(&self, now: Duration) -> Option<Duration> {
        let limit = (self.slots.limit / 2).clamp(1, MOST_PRELUDES);
        let (_, since) = self.preludes.front().filter(|_| self.preludes.len() >= limit)?;
        Some((*since + PRELUDE_PATIENCE).saturating_sub(now))
    }

    /// The session that must give up its slot now. It is no prelude from then on.
    pub(super) fn evict_prelude(&mut self, now: Duration) -> Option<SessionId> {
        self.prelude_in_the_way(now).filter(Duration::is_zero)?;
        self.preludes.pop_front().map(|(session, _)| session)
    }
}
