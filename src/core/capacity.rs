//! Limits for the number of sessions, in total and per service.

/// `limit` and `kept` are descriptors. A session holds at most `each`. The reserve is for logs,
/// files and connections being refused.
pub fn total_from_descriptors(limit: usize, kept: usize, each: usize) -> usize {
    const RESERVE: usize = 96;
    (limit.saturating_sub(kept + RESERVE) / each.max(1)).max(1)
}

/// One of several services may take at most three quarters of the total.
pub fn share_of_total(limit: usize, total: usize, services: usize) -> usize {
    if services <= 1 { limit.min(total) } else { limit.min(total * 3 / 4).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_service_cannot_take_all_connections() {
        assert_eq!(share_of_total(256, 94, 2), 70);
        assert_eq!(share_of_total(256, 94, 1), 94);
        assert_eq!(share_of_total(256, 10_000, 5), 256);
        assert_eq!(share_of_total(256, 1, 5), 1);
    }

    #[test]
    fn small_descriptor_limit_still_allows_one_session() {
        assert_eq!(total_from_descriptors(20, 4, 2), 1);
        assert_eq!(total_from_descriptors(1024, 200, 2), 364);
    }
}
