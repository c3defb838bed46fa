//! The two directions of a connection in clear text.

use tokio::sync::watch;

use super::{Flow, LEAST, Phase, TURN, reached};
use crate::spawn::stdio::Pipes;
use crate::sys::net::Stream;
use crate::sys::pipe::{self, Reader, Writer};
use crate::sys::relay::Relay;
use crate::sys::{Broken, Moved};

pub(super) async fn carry(stream: &Stream, pipes: Pipes, flow: &Flow, phase: watch::Receiver<Phase>) {
    let Pipes { input, output } = pipes;
    tokio::join!(inward(stream, input, flow, phase.clone()), outward(stream, output, flow, phase));
}

/// From the client to the program, whose input ends with this.
async fn inward(stream: &Stream, input: Writer, flow: &Flow, mut phase: watch::Receiver<Phase>) {
    let mut relay = Relay::new();
    let mut turn = 0;
    loop {
        // Asked first: a client that never pauses must not keep its program from
        // the end of its input.
        let moved = tokio::select! {
            biased;
            () = reached(&mut phase, Phase::InputEnds) => return,
            moved = relay.inward(stream, &input) => moved,
        };
        match moved {
            Ok(Moved::Bytes(count)) => {
                flow.received(count);
                take_turns(&mut turn, count).await;
            }
            Ok(Moved::End) | Err(Broken::Source(_)) => return flow.end_received(),
            // The program reads no more. What the client still sends stays where
            // it is, as it would without us.
            Err(Broken::Sink(_)) => return,
        }
    }
}

/// From the program to the client, whose stream ends with this.
async fn outward(stream: &Stream, output: Reader, flow: &Flow, mut phase: watch::Receiver<Phase>) {
    let mut relay = Relay::new();
    let mut turn = 0;
    let mut over = false;
    loop {
        // Who else could write is gone: what is there is all.
        let rest = over && !pipe::END_ALWAYS_COMES;
        let moved = tokio::select! {
            biased;
            moved = relay.outward(&output, stream, rest) => moved,
            () = reached(&mut phase, Phase::Over), if !over => {
                over = true;
                continue;
            }
        };
        match moved {
            Ok(Moved::Bytes(count)) => {
                flow.sent(count);
                take_turns(&mut turn, count).await;
            }
            Ok(Moved::End) | Err(Broken::Source(_)) => {
                // A client that is gone already needs no end.
                let _ = stream.shutdown();
                return;
            }
            // The program finds out when it writes next.
            Err(Broken::Sink(_)) => return flow.end_received(),
        }
    }
}

async fn take_turns(turn: &mut usize, count: usize) {
    *turn += count.max(LEAST);
    if *turn >= TURN {
        *turn = 0;
        tokio::task::yield_now().await;
    }
}
