//! Moving bytes between a client and its program's pipes. Each direction ends
//! by itself; nothing is kept in between but what one side has written and the
//! other not yet read, and that is bounded.

mod errors;
mod plain;
mod tls;

use std::fmt;
use std::pin::Pin;

use tokio::sync::watch;

use super::flow::Flow;
use super::link::Link;
use crate::spawn::stdio::ServerEnds;
pub use errors::{Errors, StderrBudget, tell};
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
pub struct Pump<'a> {
    /// None when it is done. (Boxed: sessions with nothing to move have no room for it.)
    work: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
    phase: watch::Sender<Phase>,
}

impl fmt::Debug for Pump<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pump { work, phase } = self;
        formatter.debug_struct("Pump").field("is_done", &work.is_none()).field("phase", phase).finish()
    }
}

impl<'a> Pump<'a> {
    /// One that will move bytes until both directions and the errors have come to
    /// their ends.
    pub fn new(link: &'a mut Link, ours: ServerEnds, errors: Option<&'a mut Errors>, flow: &'a Flow) -> Self {
        let (phase, phases) = watch::channel(Phase::Runs);
        let moves = ours.pipes.is_some() || (ours.errors.is_some() && errors.is_some());
        let work: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>> =
            moves.then(|| Box::pin(carry(link, ours, errors, flow, phases)) as Pin<Box<_>>);
        Pump { work, phase }
    }

    /// The session has come so far.
    pub fn reached(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Works until everything is moved; never returns again after that.
    pub async fn run(&mut self) {
        match &mut self.work {
            Some(work) => work.as_mut().await,
            None => return std::future::pending().await,
        }
        self.work = None;
    }

    /// Works until everything is moved, if it is not yet.
    pub async fn finish(&mut self) {
        if self.work.is_some() {
            self.run().await;
        }
    }
}

/// Bytes that one direction moves before others get their turn.
const TURN: usize = 1 << 20;
/// A move counts for so much at least: one of few bytes takes its time as well.
const LEAST: usize = 4 << 10;

async fn carry(
    link: &mut Link,
    ours: ServerEnds,
    errors: Option<&mut Errors>,
    flow: &Flow,
    phase: watch::Receiver<Phase>,
) {
    let ServerEnds { pipes, errors: reader } = ours;
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
