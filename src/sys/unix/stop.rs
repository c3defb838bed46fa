//! Requests to stop: SIGTERM, SIGINT, and in a console its closing (SIGHUP). For
//! a service manager SIGHUP means to read the files again; until there is a
//! reload it must not end the server.

use std::io;

use super::super::Request;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The requests to stop, from now on.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    hangup_stops: bool,
}

impl Stop {
    /// Listens from now on; before this a signal ends the process.
    pub fn listen(console: bool) -> io::Result<Stop> {
        // Whoever started us with SIGHUP ignored (nohup) wants us to outlive the console.
        let ignored = is_ignored(libc::SIGHUP);
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            hangup_stops: console && !ignored,
        })
    }

    /// Waits for the next request; tells what it was.
    pub async fn requested(&mut self) -> Request {
        let request = |why| Request { why, at_most: None };
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return request("SIGTERM"),
                _ = self.interrupt.recv() => return request("SIGINT"),
                _ = self.hangup.recv() => {
                    if self.hangup_stops {
                        return request("SIGHUP");
                    }
                }
            }
        }
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: zeroes are a valid sigaction to be overwritten, and asking changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
