//! Relays bytes between a client and its program's pipes, with bounded buffers.

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Runs,
    InputEnds,
    /// The program's tree is gone. The pump delivers the rest of its output.
    Over,
}

/// `run` and `finish` may be called again after a cancellation.
pub struct Pump<'a> {
    /// Boxed: a session with nothing to relay does not pay for its size.
    work: Option<PumpFuture<'a>>,
}

type PumpFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl<'a> Pump<'a> {
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

    pub fn of_errors(
        reader: Option<&'a Reader>,
        errors: Option<&'a mut Errors>,
        phases: watch::Receiver<Phase>,
    ) -> Self {
        let work = reader.zip(errors);
        Pump { work: work.map(|(reader, errors)| Box::pin(tell(reader, errors, phases)) as PumpFuture<'a>) }
    }

    pub async fn run(&mut self) -> Infallible {
        self.finish().await;
        std::future::pending().await
    }

    pub async fn finish(&mut self) {
        if let Some(work) = &mut self.work {
            work.as_mut().await;
            self.work = None;
        }
    }
}

/// Bytes that one direction moves before its task yields.
const TURN: usize = 1 << 20;
/// The minimum that one move counts for: small moves cost time too.
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
            (_, _) => {}
        }
    };
    tokio::join!(moved, told);
}

async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}
