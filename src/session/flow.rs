//! Byte counts: from the kernel if the program has the connection, otherwise from the relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::core::helper_queue::Owner;
use crate::session::helpers::Helpers;
use crate::sys::net;
use crate::sys::{self, Counts};

#[derive(Debug)]
pub struct Flow {
    began: Instant,
    received: AtomicU64,
    sent: AtomicU64,
    /// Milliseconds from `began` to the last movement.
    last: AtomicU64,
    end_received: AtomicBool,
    /// Bytes of a PROXY header, which the kernel counts as received from the client.
    header: AtomicU64,
    is_known: AtomicBool,
    is_asked: AtomicBool,
}

impl Flow {
    pub fn new() -> Flow {
        Flow {
            began: Instant::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            last: AtomicU64::new(0),
            end_received: AtomicBool::new(false),
            header: AtomicU64::new(0),
            is_known: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
        }
    }

    /// Sets the length of the PROXY header in bytes.
    pub fn began_with(&self, header: usize) {
        self.header.store(header as u64, Ordering::Relaxed);
    }

    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved();
    }

    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.moved();
    }

    /// The client ended its stream, or the connection broke.
    pub fn end_received(&self) {
        self.end_received.store(true, Ordering::Relaxed);
        self.moved();
    }

    fn learn(&self, counts: &Counts) {
        self.received.store(counts.received, Ordering::Relaxed);
        self.sent.store(counts.acknowledged, Ordering::Relaxed);
        self.is_known.store(true, Ordering::Release);
    }

    fn moved(&self) {
        self.last.store(milliseconds(self.began.elapsed()), Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        Counts {
            received: self.received.load(Ordering::Relaxed),
            acknowledged: self.sent.load(Ordering::Relaxed),
            sent: Some(self.sent.load(Ordering::Relaxed)),
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

#[derive(Debug, Clone)]
pub enum Counted {
    /// The flow holds the kernel's last answer.
    BySystem(net::Counter, Arc<Flow>),
    ByUs(Arc<Flow>),
}

impl Counted {
    /// The counts so far, without a query to the kernel.
    pub fn known(&self) -> Option<Counts> {
        match self {
            Counted::BySystem(_, flow) => flow.is_known.load(Ordering::Acquire).then(|| flow.counts()),
            Counted::ByUs(flow) => Some(flow.counts()),
        }
    }

    /// The counts, from the kernel if it counts. The program can delay the answer.
    pub async fn ask(&self, looks: &Helpers, owner: Owner) -> Option<Counts> {
        if !self.is_by_system() {
            return self.known();
        }
        let counted = self.clone();
        looks.run(owner, move || counted.look()).await?
    }

    /// Starts a query unless one is under way. Drops `done` when `known` has the answer.
    pub fn ask_beside(&self, looks: &Helpers, owner: Owner, done: impl Send + 'static) {
        let Counted::BySystem(_, flow) = self else { return };
        if !self.is_by_system() || flow.is_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let counted = self.clone();
        looks.push(owner, move || {
            counted.look();
            if let Counted::BySystem(_, flow) = &counted {
                flow.is_asked.store(false, Ordering::Release);
            }
            drop(done);
        });
    }

    fn is_by_system(&self) -> bool {
        matches!(self, Counted::BySystem(..)) && sys::CAPABILITIES.byte_counts
    }

    /// Can block: must not run on an event loop.
    fn look(&self) -> Option<Counts> {
        let Counted::BySystem(counter, flow) = self else { return self.known() };
        let counts = self.of_program(counter.counts()?);
        flow.learn(&counts);
        Some(counts)
    }

    /// The kernel's counts without the PROXY header.
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
    fn traffic_is_counted_by_direction_and_ends_idleness() {
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
