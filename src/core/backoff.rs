//! Delays that double up to a ceiling and start again after a success.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    next: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, ceiling: Duration) -> Self {
        Backoff { first, ceiling, next: first }
    }

    pub fn failed(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.ceiling);
        delay
    }

    pub fn succeeded(&mut self) {
        self.next = self.first;
    }
}

/// An operation that the server retries, with the cause of the last failure.
#[derive(Debug)]
pub struct Retry {
    pause: Backoff,
    cause: Option<String>,
}

impl Default for Retry {
    /// Pauses double from one second to one minute.
    fn default() -> Self {
        Retry { pause: Backoff::new(Duration::from_secs(1), Duration::from_mins(1)), cause: None }
    }
}

impl Retry {
    /// Returns the pause until the next try.
    pub fn failed(&mut self, cause: String) -> Duration {
        self.cause = Some(cause);
        self.pause.failed()
    }

    /// Returns true after a failure, so that the caller logs the recovery.
    pub fn succeeded(&mut self) -> bool {
        self.pause.succeeded();
        self.cause.take().is_some()
    }

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
