//! What moved on a connection: counted by the kernel where a program has the
//! connection itself, and by us where we move the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::core::helper_queue::Owner;
use crate::session::helpers::Helpers;
use crate::sys::net;
use crate::sys::{self, Counts};

/// What moved through us, counted as it moves; or what the system has counted when it
/// was asked last. Asked from anywhere.
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
    /// The system has answered.
    is_known: AtomicBool,
    /// The system is being asked.
    is_asked: AtomicBool,
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
            is_known: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
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

    /// The system has counted so much.
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

/// Who counts what moves on a connection.
#[derive(Debug, Clone)]
pub enum Counted {
    /// The system, where it does; but for the header that is in this.
    BySystem(net::Counter, Arc<Flow>),
    /// We, as we move it.
    ByUs(Arc<Flow>),
}

impl Counted {
    /// What moved, as far as that is known without asking the system.
    pub fn known(&self) -> Option<Counts> {
        match self {
            Counted::BySystem(_, flow) => flow.is_known.load(Ordering::Acquire).then(|| flow.counts()),
            Counted::ByUs(flow) => Some(flow.counts()),
        }
    }

    /// What moved. The answer may be long in coming, since the system may wait for the
    /// program.
    pub async fn ask(&self, looks: &Helpers, owner: Owner) -> Option<Counts> {
        if !self.is_by_system() {
            return self.known();
        }
        let counted = self.clone();
        looks.run(owner, move || counted.look()).await?
    }

    /// Has the system asked, unless that is under way. `done` is dropped when `known`
    /// tells what it said.
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

    /// Asks the system. Not on a loop.
    fn look(&self) -> Option<Counts> {
        let Counted::BySystem(counter, flow) = self else { return self.known() };
        let counts = self.of_program(counter.counts()?);
        flow.learn(&counts);
        Some(counts)
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
