//! Moving bytes between a client and its program's pipes. Each direction ends
//! by itself; nothing is kept in between but what one side has written and the
//! other not yet read, and that is bounded.

mod errors;
mod plain;
mod tls;

use std::pin::Pin;

use tokio::sync::watch;

use super::flow::Flow;
use super::link::Link;
use super::stdio::Ours;
pub use errors::{Complaints, Errors, tell};
pub use tls::Network;

/// How far a session has come, for its pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The program runs.
    Runs,
    /// It was asked to end, by the end of its input.
    InputEnds,
    /// Its tree is gone: what it wrote is delivered, and no more comes.
    Over,
}

/// A pump at work, which may be waited for more than once.
#[derive(Debug)]
pub struct Pump<'a, F> {
    work: Pin<&'a mut F>,
    phase: watch::Sender<Phase>,
    is_done: bool,
}

impl<'a, F: Future<Output = ()>> Pump<'a, F> {
    /// One that has not begun. It is told how far its session has come.
    pub fn new(work: Pin<&'a mut F>, phase: watch::Sender<Phase>) -> Self {
        Pump { work, phase, is_done: false }
    }

    /// The session has come so far.
    pub fn reached(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Works until everything is moved; never returns again after that.
    pub async fn run(&mut self) {
        if self.is_done {
            return std::future::pending().await;
        }
        self.work.as_mut().await;
        self.is_done = true;
    }

    /// Works until everything is moved, if it is not yet.
    pub async fn finish(&mut self) {
        if !self.is_done {
            self.run().await;
        }
    }
}

/// Bytes that one direction moves before others get their turn.
const TURN: usize = 1 << 20;
/// A move counts for so much at least: one of few bytes takes its time as well.
const LEAST: usize = 4 << 10;

/// Moves bytes until both directions and the errors have come to their ends.
pub async fn carry(
    link: &mut Link,
    ours: Ours,
    errors: Option<&mut Errors>,
    flow: &Flow,
    phase: watch::Receiver<Phase>,
) {
    let Ours { pipes, errors: reader } = ours;
    let told = tell(reader.as_ref(), errors, phase.clone());
    let moved = async {
        match (link, pipes) {
            (Link::Plain(stream), Some(pipes)) => plain::carry(stream, pipes, flow, phase).await,
            (Link::Tls(stream, connection), Some(pipes)) => {
                tls::carry(stream, connection, pipes, flow, phase).await;
            }
            // The program has the connection itself.
            (_, _) => {}
        }
    };
    tokio::join!(moved, told);
}

/// Returns when a session has come so far.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // Without its session nothing is left to move for.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}
