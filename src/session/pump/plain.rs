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

/// Relays to the program. Its return closes the program's input.
async fn inward(stream: &Stream, input: Writer, flow: &Flow, mut phase: watch::Receiver<Phase>) {
    let mut relay = Relay::new();
    let mut turn = 0;
    loop {
        // Polled first: a client that never pauses must not delay the end of its program's input.
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
            // The program closed its input. The client's further bytes stay in the socket.
            Err(Broken::Sink(_)) => return,
        }
    }
}

async fn outward(stream: &Stream, output: Reader, flow: &Flow, mut phase: watch::Receiver<Phase>) {
    let mut relay = Relay::new();
    let mut turn = 0;
    let mut over = false;
    loop {
        // The tree is gone. If end of file may never come, an empty pipe is the end.
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
                let _ = stream.shutdown();
                return;
            }
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
