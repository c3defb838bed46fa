//! What moved on a connection: counted by the kernel where a program has the
//! connection itself, and by us where we move the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::sys::Counts;
use crate::sys::net;

/// What moved through us, counted as it moves and asked from anywhere.
#[derive(Debug)]
pub struct Flow {
    began: Instant,
    received: AtomicU64,
    sent: AtomicU64,
    /// Milliseconds from the beginning to the last movement.
    last: AtomicU64,
    end_received: AtomicBool,
    /// Bytes of a PROXY header, which the system counts as the client's.
    header: AtomicU64,
}

impl Flow {
    /// Nothing has moved yet.
    pub fn new() -> Flow {
        Flow {
            began: Instant::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            last: AtomicU64::new(0),
            end_received: AtomicBool::new(false),
            header: AtomicU64::new(0),
        }
    }

    /// The connection began with so many bytes that are neither the client's nor
    /// the program's.
    pub fn began_with(&self, header: usize) {
        self.header.store(header as u64, Ordering::Relaxed);
    }

    /// The program was given so many bytes of the client's.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved();
    }

    /// The client was given so many bytes of the program's.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved();
    }

    /// The client has ended its stream, or the connection is broken.
    pub fn end_received(&self) {
        self.end_received.store(true, Ordering::Relaxed);
        self.moved();
    }

    fn moved(&self) {
        self.last.store(milliseconds(self.began.elapsed()), Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        Counts {
            received: self.received.load(Ordering::Relaxed),
            acknowledged: self.sent.load(Ordering::Relaxed),
            quiet: self.began.elapsed().saturating_sub(last),
            end_received: self.end_received.load(Ordering::Relaxed),
        }
    }
}

impl Default for Flow {
    fn default() -> Self {
        Flow::new()
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Who counts what moves on a connection.
#[derive(Debug, Clone)]
pub enum Counted {
    /// The system, where it does; but for the header that is in this.
    BySystem(net::Counter, Arc<Flow>),
    /// We, as we move it.
    ByUs(Arc<Flow>),
}

impl Counted {
    /// What moved, where somebody counts.
    pub fn counts(&self) -> Option<Counts> {
        match self {
            Counted::BySystem(counter, _) => counter.counts().map(|counts| self.of_program(counts)),
            Counted::ByUs(flow) => Some(flow.counts()),
        }
    }

    /// What of that which the system has counted is the program's.
    pub fn of_program(&self, counts: Counts) -> Counts {
        let Counted::BySystem(_, flow) = self else { return counts };
        let header = flow.header.load(Ordering::Relaxed);
        Counts { received: counts.received.saturating_sub(header), ..counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_counted_by_its_direction_and_ends_the_quiet() {
        let flow = Flow { began: Instant::now() - Duration::from_secs(5), ..Flow::new() };
        assert!(flow.counts().quiet >= Duration::from_secs(5));
        flow.sent(3);
        flow.received(4);
        let counts = flow.counts();
        assert_eq!((counts.received, counts.acknowledged, counts.end_received), (4, 3, false));
        assert!(counts.quiet < Duration::from_secs(5));
        flow.end_received();
        assert!(flow.counts().end_received);
    }
}
