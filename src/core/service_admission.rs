//! The limits of one service, and its sessions in a header or handshake.

use std::collections::VecDeque;
use std::time::Duration;

use super::rate::Bucket;
use super::slots::Slots;
use super::throttle::Throttle;
use crate::model::ids::SessionId;
use crate::model::plan::Admit;

#[derive(Debug)]
pub(super) struct ServiceAdmission {
    pub(super) admit: Admit,
    pub(super) slots: Slots,
    pub(super) bucket: Option<Bucket>,
    pub(super) throttle: Throttle,
    /// Oldest first, with their start.
    pub(super) preludes: VecDeque<(SessionId, Duration)>,
    /// The service was removed from the configuration, but has live sessions.
    pub(super) retired: bool,
}

/// Clients that never finish theirs must not take all slots.
const MOST_PRELUDES: usize = 64;

/// After this time a prelude gives up its slot to a waiting client.
const PRELUDE_PATIENCE: Duration = Duration::from_secs(1);

impl ServiceAdmission {
    /// How long until the oldest prelude may be evicted, if preludes use their whole share.
    pub(super) fn prelude_in_the_way(&self, now: Duration) -> Option<Duration> {
        let limit = (self.slots.limit / 2).clamp(1, MOST_PRELUDES);
        let (_, since) = self.preludes.front().filter(|_| self.preludes.len() >= limit)?;
        Some((*since + PRELUDE_PATIENCE).saturating_sub(now))
    }

    pub(super) fn evict_prelude(&mut self, now: Duration) -> Option<SessionId> {
        self.prelude_in_the_way(now).filter(Duration::is_zero)?;
        self.preludes.pop_front().map(|(session, _)| session)
    }
}
