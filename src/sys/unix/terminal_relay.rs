//! The caller's process of `--run`: it relays bytes, signals, window sizes and stops.

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;
use super::terminal_signals::{is_ignored, notice, set_mask, take_default, write_to};
use crate::model::exit_status::ExitStatus;

/// How often a background job checks whether it is in the foreground, in milliseconds. Not every
/// shell sends a signal.
const LOOK_AGAIN: c_int = 250;

/// Bytes per write to the caller's terminal. A writable terminal accepts this many at once.
const SHOWN_AT_ONCE: usize = 512;

const CHUNK: usize = 4096;

/// Bytes read after the runner's end, because a leftover process may write forever.
const LAST_OUTPUT: usize = 256 * 1024;

/// Signals whose default action would leave the terminal raw. The runner gets SIGTERM instead.
const ENDING: [c_int; 5] = [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];
/// Keyboard signals, which the relay passes on.
const PASSED: [c_int; 3] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP];
/// Signals for the relay itself.
const NEWS: [c_int; 3] = [libc::SIGCHLD, libc::SIGCONT, libc::SIGWINCH];

enum RunnerState {
    Runs,
    Stopped,
    Ended(ExitStatus),
}

pub(super) struct TerminalRelay {
    runner: libc::pid_t,
    signals: File,
    /// Whether SIGTSTP was not ignored when this process started.
    can_stop: bool,
    link: Option<TerminalLink>,
}

impl TerminalRelay {
    /// Kills the runner if it fails. `streams` are the standard streams at the caller's terminal.
    pub(super) fn new(
        runner: libc::pid_t,
        pty: Option<OwnedFd>,
        streams: &[c_int],
    ) -> io::Result<TerminalRelay> {
        let made = TerminalRelay::make(runner, pty, streams);
        if made.is_err() {
            // SAFETY: no pointers; the runner is our child and not reaped yet.
            unsafe { libc::kill(runner, libc::SIGKILL) };
        }
        made
    }

    fn make(runner: libc::pid_t, pty: Option<OwnedFd>, streams: &[c_int]) -> io::Result<TerminalRelay> {
        let (reader, writer) = io::pipe()?;
        let (signals, writer) = (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)));
        set_nonblocking(&signals)?;
        set_nonblocking(&writer)?;
        write_to(writer);
        for signal in NEWS {
            notice(signal)?;
        }
        for signal in ENDING.into_iter().chain(PASSED).filter(|&signal| !is_ignored(signal)) {
            notice(signal)?;
        }
        // Signals since the fork are pending: `terminal::separate` blocked them.
        set_mask(false)?;
        let link = pty.map(|pty| TerminalLink::new(pty, streams)).transpose()?;
        Ok(TerminalRelay { runner, signals, can_stop: !is_ignored(libc::SIGTSTP), link })
    }

    pub(super) fn run(mut self) -> io::Result<ExitStatus> {
        loop {
            match self.state()? {
                RunnerState::Ended(exit) => {
                    self.finish();
                    return Ok(exit);
                }
                RunnerState::Stopped => self.suspend()?,
                RunnerState::Runs => {}
            }
            if let Some(link) = &mut self.link {
                link.attach();
            }
            self.step()?;
        }
    }

    fn state(&self) -> io::Result<RunnerState> {
        let mut status = 0;
        // SAFETY: the pointer is valid for the call; the runner is our child.
        let asked =
            check(unsafe { libc::waitpid(self.runner, &raw mut status, libc::WNOHANG | libc::WUNTRACED) });
        Ok(match asked {
            Ok(0) => RunnerState::Runs,
            Ok(_) if libc::WIFSTOPPED(status) => RunnerState::Stopped,
            Ok(_) if libc::WIFSIGNALED(status) => {
                RunnerState::Ended(ExitStatus::Signal(libc::WTERMSIG(status)))
            }
            Ok(_) => RunnerState::Ended(ExitStatus::Code(libc::WEXITSTATUS(status).unsigned_abs())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => RunnerState::Runs,
            Err(error) => return Err(error),
        })
    }

    /// Stops the caller's whole job with the program, as Ctrl-Z would, until the job continues.
    /// Without a job-control shell the kernel ignores SIGTSTP.
    fn suspend(&mut self) -> io::Result<()> {
        if let Some(link) = &mut self.link {
            link.detach();
        }
        if self.can_stop {
            take_default(libc::SIGTSTP)?;
            // SAFETY: no pointers; 0 is our own process group.
            unsafe { libc::kill(0, libc::SIGTSTP) };
            notice(libc::SIGTSTP)?;
        }
        self.tell(libc::SIGCONT);
        Ok(())
    }

    fn tell(&self, signal: c_int) {
        // SAFETY: no pointers; the runner is our child and not reaped yet.
        unsafe { libc::kill(self.runner, signal) };
    }

    fn step(&mut self) -> io::Result<()> {
        let mut polls = [wait_for(self.signals.as_raw_fd(), libc::POLLIN), NOTHING, NOTHING, NOTHING];
        let mut patience = -1;
        if let Some(link) = &self.link {
            patience = link.patience();
            polls[1..].copy_from_slice(&link.wanted());
        }
        let count = libc::nfds_t::try_from(polls.len()).unwrap_or(0);
        // SAFETY: the pointer and the count are of one array.
        match check(unsafe { libc::poll(polls.as_mut_ptr(), count, patience) }) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => {}
            Ok(_) => {
                if let Some(link) = &mut self.link {
                    link.moved(polls[1], polls[2], polls[3]);
                }
            }
        }
        let mut signals = [0u8; 64];
        let count = self.signals.read(&mut signals).unwrap_or(0);
        for signal in signals[..count].iter().map(|&signal| c_int::from(signal)) {
            self.take(signal);
        }
        Ok(())
    }

    /// Shows the program's last output; one of `ENDING` cuts it short.
    fn finish(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut left = LAST_OUTPUT;
        while link.has_more(&mut left) {
            let signals = wait_for(self.signals.as_raw_fd(), libc::POLLIN);
            let mut polls = [signals, wait_for(link.screen.as_raw_fd(), libc::POLLOUT)];
            // SAFETY: the pointer and the count are of one array.
            unsafe { libc::poll(polls.as_mut_ptr(), 2, -1) };
            let mut news = [0u8; 64];
            let count = self.signals.read(&mut news).unwrap_or(0);
            if news[..count].iter().any(|&signal| ENDING.contains(&c_int::from(signal))) {
                return;
            }
            if polls[1].revents != 0 {
                link.show();
            }
        }
    }

    fn take(&mut self, signal: c_int) {
        match signal {
            libc::SIGCHLD => {}
            libc::SIGWINCH => self.link.iter().for_each(TerminalLink::resize),
            libc::SIGCONT => self.link.iter_mut().for_each(TerminalLink::attach_again),
            signal if PASSED.contains(&signal) => self.tell(signal),
            _ => {
                self.tell(libc::SIGTERM);
                self.tell(libc::SIGCONT);
            }
        }
    }
}

const NOTHING: libc::pollfd = wait_for(-1, 0);

const fn wait_for(fd: c_int, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

struct TerminalLink {
    pty: File,
    pty_is_open: bool,
    /// A standard stream at the caller's terminal, for output.
    screen: ManuallyDrop<File>,
    screen_is_open: bool,
    /// Standard input, if it is the caller's terminal.
    keys: Option<ManuallyDrop<File>>,
    /// The original modes of the caller's terminal, while it is raw.
    before: Option<libc::termios>,
    typed: Vec<u8>,
    shown: Vec<u8>,
}

impl TerminalLink {
    fn new(pty: OwnedFd, streams: &[c_int]) -> io::Result<TerminalLink> {
        let pty = File::from(pty);
        set_nonblocking(&pty)?;
        let screen = streams.iter().copied().find(|&stream| stream > 0).unwrap_or(0);
        // SAFETY: the standard streams stay open, and ManuallyDrop closes neither.
        let stream = |number| ManuallyDrop::new(unsafe { File::from_raw_fd(number) });
        Ok(TerminalLink {
            pty,
            pty_is_open: true,
            screen: stream(screen),
            screen_is_open: true,
            keys: streams.contains(&0).then(|| stream(0)),
            before: None,
            typed: Vec::new(),
            shown: Vec::new(),
        })
    }

    /// Makes the caller's terminal raw if this job is in the foreground.
    fn attach(&mut self) {
        let Some(keys) = self.keys.as_ref().map(|keys| keys.as_raw_fd()) else { return };
        if self.before.is_some() || !is_foreground(keys) {
            return;
        }
        // SAFETY: zeroes are a valid termios, and the pointers are valid for their calls.
        unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(keys, &raw mut modes) != 0 {
                return;
            }
            let before = modes;
            libc::cfmakeraw(&raw mut modes);
            // A read must not block if another process took the input first.
            modes.c_cc[libc::VMIN] = 0;
            modes.c_cc[libc::VTIME] = 0;
            if libc::tcsetattr(keys, libc::TCSADRAIN, &raw const modes) == 0 {
                self.before = Some(before);
            }
        }
        self.resize();
    }

    /// After SIGCONT: the shell may have changed the modes while the job was stopped.
    fn attach_again(&mut self) {
        let before = self.before.take();
        self.attach();
        if self.before.is_some() {
            self.before = before.or(self.before);
        }
    }

    fn detach(&mut self) {
        let Some(before) = self.before.take() else { return };
        let Some(keys) = &self.keys else { return };
        // SAFETY: the pointer is valid for the call.
        unsafe { libc::tcsetattr(keys.as_raw_fd(), libc::TCSANOW, &raw const before) };
    }

    /// Passes the caller's window size on. The kernel sends SIGWINCH to the program.
    fn resize(&self) {
        // SAFETY: zeroes are a valid winsize, and the pointers are valid for their calls.
        unsafe {
            let mut size: libc::winsize = std::mem::zeroed();
            if libc::ioctl(self.screen.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) == 0 {
                libc::ioctl(self.pty.as_raw_fd(), libc::TIOCSWINSZ, &raw const size);
            }
        }
    }

    fn patience(&self) -> c_int {
        if self.keys.is_some() && self.before.is_none() { LOOK_AGAIN } else { -1 }
    }

    fn wanted(&self) -> [libc::pollfd; 3] {
        let mut pty = if self.shown.is_empty() { libc::POLLIN } else { 0 };
        if !self.typed.is_empty() {
            pty |= libc::POLLOUT;
        }
        let reads = self.before.is_some() && self.typed.is_empty();
        [
            if self.pty_is_open && pty != 0 { wait_for(self.pty.as_raw_fd(), pty) } else { NOTHING },
            if self.shown.is_empty() { NOTHING } else { wait_for(self.screen.as_raw_fd(), libc::POLLOUT) },
            match &self.keys {
                Some(keys) if reads => wait_for(keys.as_raw_fd(), libc::POLLIN),
                _ => NOTHING,
            },
        ]
    }

    fn moved(&mut self, pty: libc::pollfd, screen: libc::pollfd, keys: libc::pollfd) {
        let gone = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
        if keys.revents != 0
            && let Some(file) = &mut self.keys
        {
            match read(file) {
                Ok(bytes) if bytes.is_empty() && keys.revents & gone != 0 => self.keys = None,
                Ok(bytes) => self.typed = bytes,
                Err(_) => self.keys = None,
            }
        }
        if pty.revents != 0 && !self.typed.is_empty() {
            match self.pty.write(&self.typed) {
                Ok(count) => drop(self.typed.drain(..count)),
                Err(error) if is_later(&error) => {}
                Err(_) => self.typed.clear(),
            }
        }
        if pty.revents != 0 && self.shown.is_empty() {
            match read(&mut self.pty) {
                Ok(bytes) if bytes.is_empty() => self.pty_is_open = pty.revents & gone == 0,
                Ok(bytes) => self.shown = bytes,
                Err(_) => self.pty_is_open = false,
            }
        }
        if screen.revents != 0 {
            self.show();
        }
    }

    fn show(&mut self) {
        let part = self.shown.len().min(SHOWN_AT_ONCE);
        match self.screen.write(&self.shown[..part]) {
            Ok(count) if self.screen_is_open && count > 0 => drop(self.shown.drain(..count)),
            Err(error) if is_later(&error) => {}
            // The caller's terminal is gone. The program still runs to its end.
            _ => {
                self.screen_is_open = false;
                self.shown.clear();
            }
        }
    }

    /// `left` is the read budget in bytes.
    fn has_more(&mut self, left: &mut usize) -> bool {
        if self.shown.is_empty() && *left > 0 && self.screen_is_open {
            self.shown = read(&mut self.pty).unwrap_or_default();
            *left = left.saturating_sub(self.shown.len());
        }
        !self.shown.is_empty()
    }
}

impl Drop for TerminalLink {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Empty at end of file, and when the read would block.
fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; CHUNK];
    match file.read(&mut bytes) {
        Ok(count) => {
            bytes.truncate(count);
            Ok(bytes)
        }
        Err(error) if is_later(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

fn is_foreground(terminal: c_int) -> bool {
    // SAFETY: no pointers.
    unsafe { libc::tcgetpgrp(terminal) == libc::getpgrp() }
}

fn set_nonblocking(file: &File) -> io::Result<()> {
    // SAFETY: no pointers. No other process uses this open file description.
    unsafe {
        let flags = check(libc::fcntl(file.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)).map(drop)
    }
}
