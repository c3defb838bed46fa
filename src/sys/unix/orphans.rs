//! Finds the processes that a program left behind, at the cost of one small read.
//!
//! The server is a subreaper, so the kernel makes orphans its children. Programs are children of
//! spawn threads, orphans of the first thread. /proc lists the children of each thread. An empty
//! list proves that no program left a process; otherwise each orphan's session tells its program.
//! The kernel reparents orphans before a program's end is visible, so a later list is complete.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use super::super::fault::{self, Says};
use super::poll;
use super::reap::reap;

/// The list of orphans; `None` if this kernel or container has no such file.
static CHILDREN: OnceLock<Option<File>> = OnceLock::new();

pub(super) fn adopt() {
    CHILDREN.get_or_init(|| {
        let pid = std::process::id();
        fault::point("orphans-open", Says::Denied).ok()?;
        let file = File::open(format!("/proc/self/task/{pid}/children")).ok()?;
        // SAFETY: no pointers. The list comes first: without it the server could not reap orphans.
        let adopted = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } == 0;
        adopted.then_some(file)
    });
}

fn list() -> Option<Vec<libc::pid_t>> {
    read_list(CHILDREN.get()?.as_ref()?)
}

fn read_list(file: &File) -> Option<Vec<libc::pid_t>> {
    fault::point("orphans", Says::Memory).ok()?;
    let mut text = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        let length = file.read_at(&mut chunk, text.len() as u64).ok()?;
        if length == 0 {
            break;
        }
        text.extend_from_slice(&chunk[..length]);
    }
    let words = text.split(|&byte| byte == b' ');
    Some(words.filter_map(|word| std::str::from_utf8(word).ok()?.trim().parse().ok()).collect())
}

/// Limit of processes per walk. A program that keeps forking must not hold the event loop.
const MOST_WALKED: usize = 1 << 16;

/// These processes, then their descendants. A process that left by setsid may have children in the
/// old session.
pub(super) fn with_descendants(mut processes: Vec<libc::pid_t>) -> Vec<libc::pid_t> {
    let mut next = 0;
    while next < processes.len().min(MOST_WALKED) {
        let threads = std::fs::read_dir(format!("/proc/{}/task", processes[next]));
        for thread in threads.into_iter().flatten().flatten() {
            let children = File::open(thread.path().join("children")).ok().and_then(|file| read_list(&file));
            let new = children.unwrap_or_default();
            processes.extend(new.into_iter().filter(|pid| *pid > 1));
        }
        processes.dedup();
        next += 1;
    }
    processes
}

/// Limit of rounds per session. A fork bomb must not hold the event loop.
const ROUNDS: usize = 1000;
/// Pause between rounds without the list. Such a round costs more.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Kills the session of a program that leads `group` and has ended, but is not reaped. The program
/// leads the session too, or with `--run` this process does.
pub(super) async fn end_session(session: libc::pid_t, group: libc::pid_t) {
    // Children of killed processes become orphans only now, so repeat until none is left.
    for _ in 0..ROUNDS {
        let Some(orphans) = list() else {
            return end_members_anywhere(session, group).await;
        };
        if orphans.is_empty() {
            return;
        }
        // SAFETY: no pointers; the unreaped leader keeps the group's number from reuse.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        for &pid in &with_descendants(orphans.clone()) {
            end_member(session, pid);
        }
        // Skips a setuid program's process, which an unprivileged server may not kill.
        // SAFETY: no pointers.
        let of_session =
            |&pid: &libc::pid_t| unsafe { libc::getsid(pid) == session && libc::kill(pid, 0) == 0 };
        let left = orphans.into_iter().filter(of_session).find(|&pid| !reaped(pid));
        let Some(pid) = left else {
            match list() {
                Some(again) if again.iter().any(of_session) => continue,
                _ => return,
            }
        };
        if ended(pid).await.is_err() {
            // Without a descriptor to wait with, let the event loop run once.
            tokio::task::yield_now().await;
        }
    }
}

/// The fallback without the list, as in some containers: scans all processes.
async fn end_members_anywhere(session: libc::pid_t, group: libc::pid_t) {
    // SAFETY: no pointers; the unreaped leader keeps the group's number from reuse.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    for _ in 0..ROUNDS {
        let found = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = found.filter_map(|entry| entry.file_name().to_str()?.parse::<libc::pid_t>().ok());
        // SAFETY: no pointers. Processes that we may not kill are skipped.
        let of_session = |&pid: &libc::pid_t| unsafe {
            pid != session && pid != group && libc::getsid(pid) == session && libc::kill(pid, 0) == 0
        };
        let members: Vec<_> = pids.filter(of_session).filter(|&pid| !reaped(pid)).collect();
        if members.is_empty() {
            return;
        }
        for pid in members {
            end_member(session, pid);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Limit of descriptors per scan. A program that opens many must not hold the event loop.
const MOST_LOOKED_AT: usize = 1 << 14;

/// Whether an orphan or its descendant has a descriptor with this link in /proc. Misses those
/// beyond [`MOST_LOOKED_AT`], and processes of other accounts without CAP_SYS_PTRACE.
pub(super) fn have(name: &Path) -> bool {
    let processes = with_descendants(list().unwrap_or_default());
    let folders = processes.into_iter().map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")));
    let mut descriptors = folders.flatten().flatten().flatten().take(MOST_LOOKED_AT);
    descriptors.any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|found| found == name))
}

/// The process groups of a session, among the descendants of its leader and of orphans.
pub(super) fn groups_of_session(session: libc::pid_t) -> Vec<libc::pid_t> {
    let mut starts = vec![session];
    starts.extend(list().unwrap_or_default());
    // SAFETY: no pointers. A reused number belongs to a process of another session.
    let group = |pid| unsafe { (libc::getsid(pid) == session).then(|| libc::getpgid(pid)) };
    let mut groups: Vec<_> =
        with_descendants(starts).into_iter().filter_map(group).filter(|&group| group > 1).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Kills a process and its group, if the process is in the session. A group never spans sessions.
fn end_member(session: libc::pid_t, pid: libc::pid_t) {
    // SAFETY: no pointers. A reused number belongs to a process of another session.
    unsafe {
        if libc::getsid(pid) == session {
            let group = libc::getpgid(pid);
            // With `--run` a process of the program may have joined our group.
            if group > 1 && group != libc::getpgrp() {
                libc::kill(-group, libc::SIGKILL);
            }
            libc::kill(pid, libc::SIGKILL);
        }
    }
}

/// Call this periodically: a long-lived program may leave many orphans. True if some still run.
pub(super) fn reap_ended() -> bool {
    list().unwrap_or_default().into_iter().filter(|&pid| !reaped(pid)).count() > 0
}

fn reaped(pid: libc::pid_t) -> bool {
    reap(libc::P_PID, pid.unsigned_abs(), libc::WEXITED | libc::WNOHANG).is_ok_and(|exit| exit.is_some())
}

async fn ended(pid: libc::pid_t) -> std::io::Result<()> {
    fault::point("pidfd", Says::Descriptors)?;
    // SAFETY: no pointers; the descriptor that comes back is new and ours.
    let pidfd = unsafe {
        let descriptor = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let descriptor = super::check(libc::c_int::try_from(descriptor).unwrap_or(-1))?;
        OwnedFd::from_raw_fd(descriptor)
    };
    let ready = poll::watch(pidfd.as_fd())?;
    let _ = ready.readable().await?;
    drop(ready);
    reaped(pid);
    Ok(())
}
