//! How many sessions there may be in all, and how many of these one service may
//! have.

/// How many sessions the descriptor limit leaves room for: each holds `each` of
/// them at the most, `kept` are for listeners and programs that wait, and a
/// reserve stays for logs, files, and clients that are just being turned away.
pub fn total_from_descriptors(limit: usize, kept: usize, each: usize) -> usize {
    const RESERVE: usize = 96;
    (limit.saturating_sub(kept + RESERVE) / each.max(1)).max(1)
}

/// The most connections of one service, where the total is small: no service
/// may take what all others need. One alone has no more than there is, so that
/// those at their headers never have all of it.
pub fn share_of_total(limit: usize, total: usize, services: usize) -> usize {
    if services <= 1 { limit.min(total) } else { limit.min(total * 3 / 4).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_can_not_take_the_whole_total() {
        assert_eq!(share_of_total(256, 94, 2), 70);
        assert_eq!(share_of_total(256, 94, 1), 94);
        assert_eq!(share_of_total(256, 10_000, 5), 256);
        assert_eq!(share_of_total(256, 1, 5), 1);
    }

    #[test]
    fn a_small_descriptor_limit_still_serves_one() {
        assert_eq!(total_from_descriptors(20, 4, 2), 1);
        assert_eq!(total_from_descriptors(1024, 200, 2), 364);
    }
}
