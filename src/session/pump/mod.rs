//! Moving bytes between a client and its program's pipes. Each direction ends
//! by itself; nothing is kept in between but what one side has written and the
//! other not yet read, and that is bounded.

mod errors;
mod plain;
mod tls;

use std::convert::Infallible;
use std::pin::Pin;

use tokio::sync::watch;

use super::flow::Flow;
use super::link::Link;
use crate::spawn::stdio::ServerEnds;
use crate::sys::pipe::Reader;
use errors::tell;
pub use errors::{Errors, StderrBudget};
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
    /// None when it is done. (Boxed: sessions with nothing to move do not pay for it.)
    work: Option<PumpFuture<'a>>,
}

type PumpFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl<'a> Pump<'a> {
    /// Moves bytes until both directions and the errors have come to their ends.
    pub fn new(
        link: &'a mut Link,
        ours: ServerEnds,
        errors: Option<&'a mut Errors>,
        flow: &'a Flow,
        phases: watch::Receiver<Phase>,
    ) -> Self {
        let moves = ours.pipes.is_some() || (ours.errors.is_some() && errors.is_some());
        let work = moves.then(|| Box::pin(carry(link, ours, errors, flow, phases)) as PumpFuture<'a>);
        Pump { work }
    }

    /// Only tells a program's errors.
    pub fn of_errors(
        reader: Option<&'a Reader>,
        errors: Option<&'a mut Errors>,
        phases: watch::Receiver<Phase>,
    ) -> Self {
        let work = reader.zip(errors);
        Pump { work: work.map(|(reader, errors)| Box::pin(tell(reader, errors, phases)) as PumpFuture<'a>) }
    }

    /// Works as long as it is waited for.
    pub async fn run(&mut self) -> Infallible {
        self.finish().await;
        std::future::pending().await
    }

    /// Works until everything is moved.
    pub async fn finish(&mut self) {
        if let Some(work) = &mut self.work {
            work.as_mut().await;
            self.work = None;
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
    phases: watch::Receiver<Phase>,
) {
    let ServerEnds { pipes, errors: reader } = ours;
    let told = async {
        if let (Some(reader), Some(errors)) = (&reader, errors) {
            tell(reader, errors, phases.clone()).await;
        }
    };
    let moved = async {
        match (link, pipes) {
            (Link::Plain(stream), Some(pipes)) => plain::carry(stream, pipes, flow, phases.clone()).await,
            (Link::Tls(stream, connection), Some(pipes)) => {
                tls::carry(stream, connection, pipes, flow, phases.clone()).await;
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
