//! Requests to stop: SIGTERM and SIGINT. (SIGHUP reads the files again once
//! there is a reload; until then it must not end the server.)

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The requests to stop, from now on.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Stop {
    /// Listens from now on; before this a signal ends the process.
    pub fn listen() -> io::Result<Stop> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next request; tells what it was.
    pub async fn requested(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {}
            }
        }
    }
}
