//! Requests to stop: SIGTERM, SIGINT, and in a console its closing (SIGHUP).
//! Without a console SIGHUP means to read the files again.

use std::io;

use super::super::fault::{self, Says};
use super::super::{StopRequest, SystemRequest};
use super::terminal;
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
    pub async fn requested(&mut self) -> SystemRequest {
        let request = |why| SystemRequest::Stop(StopRequest { why, at_most: None });
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return request("SIGTERM"),
                _ = self.interrupt.recv() => return request("SIGINT"),
                _ = self.hangup.recv() => match self.hangup_means {
                    Hangup::Stop => return request("SIGHUP"),
                    Hangup::Reload => return SystemRequest::Reload { why: "SIGHUP" },
                    Hangup::Nothing => {}
                }
            }
        }
    }
}

/// Requests beside a program of `--run`. Signals that keys stand for are the program's.
#[derive(Debug)]
pub struct BesideProgram {
    terminate: Signal,
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
    stop: Signal,
    child: Signal,
}

impl BesideProgram {
    /// Listens from now on.
    pub fn listen() -> io::Result<BesideProgram> {
        Ok(BesideProgram {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            child: signal(SignalKind::child())?,
        })
    }

    /// Waits for a request to end beside the start. A key may stop the child before it is
    /// the program, and the thread that starts it would wait: the child is continued at once.
    pub async fn starting(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => return,
                _ = self.child.recv() => terminal::continue_foreground(),
            }
        }
    }

    /// Waits for the next request to end. Meanwhile it passes signals on to the
    /// program, and stops and goes on as the program does.
    pub async fn requested(&mut self, program: u32) {
        let Ok(program) = libc::pid_t::try_from(program) else { return std::future::pending().await };
        loop {
            let passed = tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => return,
                _ = self.interrupt.recv() => libc::SIGINT,
                _ = self.quit.recv() => libc::SIGQUIT,
                _ = self.stop.recv() => libc::SIGTSTP,
                _ = self.child.recv() => {
                    if !has_stopped(program) {
                        continue;
                    }
                    // The relay sees it, stops its job, and continues us later.
                    // SAFETY: no pointers.
                    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
                    libc::SIGCONT
                }
            };
            // SAFETY: no pointers; the program leads this group and is not reaped.
            unsafe { libc::kill(-program, passed) };
        }
    }
}

/// Whether a child has stopped since this was asked last.
fn has_stopped(child: libc::pid_t) -> bool {
    // SAFETY: zeroes are a valid siginfo, and what "nothing happened" looks like; the
    // pointer is valid for the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WSTOPPED | libc::WNOHANG;
        #[allow(clippy::useless_conversion)] // the type of an id differs
        let child = libc::id_t::from(child.unsigned_abs());
        libc::waitid(libc::P_PID, child, &raw mut info, flags) == 0 && info.si_pid() != 0
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
