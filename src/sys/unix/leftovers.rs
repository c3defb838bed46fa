//! Finds and kills the processes that a program left in its session, where no cgroup holds them. A
//! process that called setsid has left it. A thread does the work, because /proc can be large.

use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::super::fault::{self, Says};
use super::orphans;
use super::pidfd::Pidfd;
use super::remains::{self, Remains};

/// A program that has ended or is asked to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessSession {
    /// Its own session, or with `--run` ours.
    pub session: libc::pid_t,
    /// The process group that the program leads.
    pub group: libc::pid_t,
    /// The time of its start, from [`orphans::now`].
    pub since: u64,
}

type Work = Box<dyn FnOnce() + Send>;

/// `None` if the thread could not be started: then the loop does the work.
fn thread() -> Option<&'static Sender<Work>> {
    static THREAD: OnceLock<Sender<Work>> = OnceLock::new();
    if let Some(thread) = THREAD.get() {
        return Some(thread);
    }
    fault::point("thread:leftovers", Says::Processes).ok()?;
    let (sender, work) = channel::<Work>();
    let run = move || work.into_iter().for_each(|work| work());
    std::thread::Builder::new().name("leftovers".to_owned()).stack_size(STACK_BYTES).spawn(run).ok()?;
    Some(THREAD.get_or_init(|| sender))
}

const STACK_BYTES: usize = 256 << 10;

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let Some(thread) = thread() else { return Some(work()) };
    let (reply, answer) = oneshot::channel();
    let work = Box::new(move || drop(reply.send(work())));
    thread.send(work).ok()?;
    answer.await.ok()
}

/// Bound of the whole end.
const GONE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Kills the session of a program that has ended and is not reaped.
///
/// Cancel safe: the next call goes on.
pub(super) async fn end(session: ProcessSession) {
    if orphans::are_none() {
        return;
    }
    let until = Instant::now() + GONE_WITHIN;
    // Children of killed processes become orphans only now, so repeat until none is left.
    while let Some(left) = on_thread(move || session.kill()).await.flatten() {
        if Instant::now() >= until {
            return remains::keep(Remains::Leftover(left));
        }
        if timeout(LOOK_AGAIN, left.ended()).await.is_ok_and(|watched| watched.is_err()) {
            // Without a descriptor to wait with.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Sends SIGTERM to the processes of a session that are not in the program's own group.
pub(super) fn ask(session: ProcessSession) {
    beside(move || {
        for pid in session.processes().into_iter().filter(|&pid| session.has(pid)) {
            let Ok(pidfd) = Pidfd::open(pid) else { continue };
            // The number may have changed hands before the descriptor was opened.
            if session.has(pid) && session.is_beside_program(pid) {
                pidfd.signal(libc::SIGTERM);
            }
        }
    });
}

/// Does work that nothing waits for.
pub(super) fn beside(work: impl FnOnce() + Send + 'static) {
    match thread() {
        Some(thread) => drop(thread.send(Box::new(work))),
        None => work(),
    }
}

impl ProcessSession {
    /// Its leader, orphans that may be in it, and their descendants.
    fn processes(self) -> Vec<libc::pid_t> {
        let mut found = vec![self.group];
        match orphans::since(self.since) {
            Some(orphans) => found.extend(orphans),
            None => found.extend(all_processes()),
        }
        orphans::with_descendants(found)
    }

    /// Whether the process is in another group than the program. With `--run` it may have joined
    /// ours.
    pub(super) fn is_beside_program(self, pid: libc::pid_t) -> bool {
        // SAFETY: no pointers.
        let (group, own) = unsafe { (libc::getpgid(pid), libc::getpgrp()) };
        group > 1 && group != self.group && group != own
    }

    fn has(self, pid: libc::pid_t) -> bool {
        pid != self.session && pid != self.group && is_in(pid, self.session)
    }

    /// Kills what is left. Returns one process that has not ended.
    fn kill(self) -> Option<Pidfd> {
        // SAFETY: no pointers; the unreaped leader keeps the group's number from reuse.
        unsafe { libc::kill(-self.group, libc::SIGKILL) };
        let mut left = None;
        for pid in self.processes().into_iter().filter(|&pid| self.has(pid)) {
            let Ok(pidfd) = Pidfd::open(pid) else { continue };
            // The number may have changed hands before the descriptor was opened.
            if !self.has(pid) || orphans::is_reaped(pid) || pidfd.has_ended() {
                continue;
            }
            // Skips a setuid program's process, which an unprivileged server may not kill.
            if pidfd.signal(libc::SIGKILL) {
                left = Some(pidfd);
            }
        }
        left
    }
}

fn is_in(pid: libc::pid_t, session: libc::pid_t) -> bool {
    // SAFETY: no pointers. A number that was used again belongs to another session.
    unsafe { libc::getsid(pid) == session }
}

/// The fallback without the list of orphans, as in some containers.
fn all_processes() -> Vec<libc::pid_t> {
    let found = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    found.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
