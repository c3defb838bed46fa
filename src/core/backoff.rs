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
}
