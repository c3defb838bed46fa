//! Stop requests: SIGTERM, SIGINT, and in a console SIGHUP. Without a console SIGHUP is a reload.

use std::io;

use super::super::fault::{self, Says};
use super::super::{StopRequest, SystemRequest};
use super::terminal;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    hangup_means: Hangup,
}

#[derive(Debug, Clone, Copy)]
enum Hangup {
    Stop,
    Reload,
    /// The console is closed, but nohup wants the server to outlive it.
    Nothing,
}

impl Stop {
    /// Before this, signals terminate the process.
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

/// Requests during `--run`. Keyboard signals go to the program.
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

    /// Waits for a stop request. A key may stop the child before exec, which would block the spawn
    /// thread, so this continues the child.
    pub async fn starting(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => return,
                _ = self.child.recv() => terminal::continue_foreground(),
            }
        }
    }

    /// Waits for a stop request. Passes other signals on, and stops and continues with the program.
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
                    // The relay sees the stop, stops its job, and continues this process later.
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

/// True once for each stop: waitid consumes it.
fn has_stopped(child: libc::pid_t) -> bool {
    // SAFETY: zeroes are a valid siginfo and mean that nothing happened; the pointer is valid.
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
