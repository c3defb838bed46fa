//! Delays that double up to a ceiling and begin anew after a success.

use std::time::Duration;

/// A curve of delays.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    next: Duration,
}

impl Backoff {
    /// The first delay and the longest.
    pub const fn new(first: Duration, ceiling: Duration) -> Self {
        Backoff { first, ceiling, next: first }
    }

    /// The delay after one more failure.
    pub fn failed(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.ceiling);
        delay
    }

    /// It worked: the next failure waits for the first delay again.
    pub fn succeeded(&mut self) {
        self.next = self.first;
    }
}

/// What the server tries again until it works: the pauses, and the cause meanwhile.
#[derive(Debug)]
pub struct Retry {
    pause: Backoff,
    cause: Option<String>,
}

impl Default for Retry {
    /// The first pause is a second; they double up to a minute.
    fn default() -> Self {
        Retry { pause: Backoff::new(Duration::from_secs(1), Duration::from_mins(1)), cause: None }
    }
}

impl Retry {
    /// It failed for this cause. The pause until the next try.
    pub fn failed(&mut self, cause: String) -> Duration {
        self.cause = Some(cause);
        self.pause.failed()
    }

    /// It works. True if it had failed before: a recovery is logged.
    pub fn succeeded(&mut self) -> bool {
        self.pause.succeeded();
        self.cause.take().is_some()
    }

    /// Why it failed last. None before the first failure, which is logged, and once it works.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_ceiling_and_begin_anew_after_success() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        assert_eq!([1, 2, 4, 5, 5].map(seconds), [(); 5].map(|()| backoff.failed()));
        backoff.succeeded();
        assert_eq!(backoff.failed(), seconds(1));
    }

    #[test]
    fn a_retry_knows_its_cause_and_whether_success_is_a_recovery() {
        let mut retry = Retry::default();
        assert!(!retry.succeeded() && retry.cause().is_none());
        let pauses = ["a", "b"].map(|cause| retry.failed(cause.to_owned()).as_secs());
        assert_eq!((pauses, retry.cause()), ([1, 2], Some("b")));
        assert!(retry.succeeded() && !retry.succeeded() && retry.cause().is_none());
        assert_eq!(retry.failed("a".to_owned()).as_secs(), 1);
    }
}
