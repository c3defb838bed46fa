//! Requests to stop: SIGTERM, SIGINT, and in a console its closing (SIGHUP).
//! Without a console SIGHUP means to read the files again.

use std::io;

use super::super::fault::{self, Says};
use super::super::{Request, StopRequest};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The requests, from now on.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    hangup_means: Hangup,
}

/// What SIGHUP means.
#[derive(Debug, Clone, Copy)]
enum Hangup {
    /// Our console is closed.
    Stop,
    /// Somebody has changed the files.
    Reload,
    /// Our console is closed, and whoever started us (by nohup) wants us to
    /// outlive it.
    Nothing,
}

impl Stop {
    /// Listens from now on; before this a signal ends the process.
    pub fn listen(console: bool) -> io::Result<Stop> {
        let hangup_means = match (console, is_ignored(libc::SIGHUP)) {
            (false, _) => Hangup::Reload,
            (true, false) => Hangup::Stop,
            (true, true) => Hangup::Nothing,
        };
        fault::point("signal", Says::Descriptors)?;
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            hangup_means,
        })
    }

    /// Waits for the next request; tells what it was.
    pub async fn requested(&mut self) -> Request {
        let request = |why| Request::Stop(StopRequest { why, at_most: None });
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return request("SIGTERM"),
                _ = self.interrupt.recv() => return request("SIGINT"),
                _ = self.hangup.recv() => match self.hangup_means {
                    Hangup::Stop => return request("SIGHUP"),
                    Hangup::Reload => return Request::Reload { why: "SIGHUP" },
                    Hangup::Nothing => {}
                }
            }
        }
    }
}

/// Requests to end while a program has our console (`--run`). What is typed
/// there reaches the program by itself, and only the program answers it.
#[derive(Debug)]
pub struct BesideProgram {
    terminate: Signal,
    hangup: Signal,
}

impl BesideProgram {
    /// Listens from now on.
    pub fn listen() -> io::Result<BesideProgram> {
        // Once listened to, a signal never ends this process again.
        for typed in [SignalKind::interrupt(), SignalKind::quit()] {
            drop(signal(typed)?);
        }
        Ok(BesideProgram {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next request.
    pub async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
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
