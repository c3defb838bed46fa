//! Finding what a program left behind, for the price of one small read.
//!
//! The server is a subreaper: a process whose parent has ended becomes our
//! child. Programs are children of spawn threads, orphans become children of
//! the first thread, and the kernel lists a thread's children in a file of
//! /proc. An empty list, the common case, proves that no program left
//! anything behind; otherwise the session of each orphan tells whose it is.
//! The kernel hands orphans over before a program's end can be seen, so a list
//! read after that end is complete.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use super::super::fault::{self, Says};
use super::poll;
use super::reap::reap;

/// The list of orphans; none if this kernel or container has no such file.
static CHILDREN: OnceLock<Option<File>> = OnceLock::new();

/// Makes this process the one that orphans come to.
pub(super) fn adopt() {
    CHILDREN.get_or_init(|| {
        let pid = std::process::id();
        fault::point("orphans-open", Says::Denied).ok()?;
        let file = File::open(format!("/proc/self/task/{pid}/children")).ok()?;
        // SAFETY: no pointers. Without the list we could not reap what comes
        // to us, so the order matters.
        let adopted = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } == 0;
        adopted.then_some(file)
    });
}

/// The orphans that are our children now; `None` if they can't be listed.
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

/// Processes whose children are looked for. More than any system has at once;
/// a program that forks while it is looked at must not hold the loop for ever.
const MOST_WALKED: usize = 1 << 16;

/// Everything below these processes, themselves first. A process that left by
/// setsid may have children that did not.
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

/// How often the list is looked through for one session. A program that forks
/// faster than it can be ended (a fork bomb) must not hold the loop for ever.
const ROUNDS: usize = 1000;
/// And how often without the list, in which each look costs more.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Ends every process of the session of a program that leads `group` and has ended,
/// but is not reaped. The program leads the session too, or we do (`--run`).
pub(super) async fn end_session(session: libc::pid_t, group: libc::pid_t) {
    // What a process of the session started just before its end is handed to
    // us only then, so the list is read until nobody of the session is in it.
    for _ in 0..ROUNDS {
        let Some(orphans) = list() else {
            return end_members_anywhere(session, group).await;
        };
        if orphans.is_empty() {
            return;
        }
        // SAFETY: no pointers; the unreaped leader keeps the number the
        // group's, so it can't mean strangers.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        for &pid in &with_descendants(orphans.clone()) {
            end_member(session, pid);
        }
        // Ours keep their numbers until we reap them. One that we may not end
        // (of a setuid program, where we are not root) is left alone.
        // SAFETY: no pointers.
        let of_session =
            |&pid: &libc::pid_t| unsafe { libc::getsid(pid) == session && libc::kill(pid, 0) == 0 };
        let left = orphans.into_iter().filter(of_session).find(|&pid| !reaped(pid));
        let Some(pid) = left else {
            // All that were seen are reaped; what they left is seen next time.
            match list() {
                Some(again) if again.iter().any(of_session) => continue,
                _ => return,
            }
        };
        if ended(pid).await.is_err() {
            // No descriptor to wait with: come back when the loop has gone round.
            tokio::task::yield_now().await;
        }
    }
}

/// The same without the list, as in containers whose kernel has none: all processes
/// are looked at. What is not ours is reaped by the system's init.
async fn end_members_anywhere(session: libc::pid_t, group: libc::pid_t) {
    // SAFETY: no pointers; the unreaped leader keeps the number the group's.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    for _ in 0..ROUNDS {
        let found = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = found.filter_map(|entry| entry.file_name().to_str()?.parse::<libc::pid_t>().ok());
        // SAFETY: no pointers. One that we may not end is left alone.
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

/// Descriptors of orphans that are looked at in one go. More than programs that
/// are left have; a program that opens many must not hold the loop.
const MOST_LOOKED_AT: usize = 1 << 14;

/// Whether an orphan, or a process below one, has a descriptor of this name in
/// /proc. Not seen are those beyond the first [`MOST_LOOKED_AT`], and those of a process
/// that we may not look at (another account's, without CAP_SYS_PTRACE).
pub(super) fn have(name: &Path) -> bool {
    let processes = with_descendants(list().unwrap_or_default());
    let folders = processes.into_iter().map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")));
    let mut descriptors = folders.flatten().flatten().flatten().take(MOST_LOOKED_AT);
    descriptors.any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|found| found == name))
}

/// The process groups of a session, as far as its processes are found: those
/// below its leader, and below those that have lost their parent.
pub(super) fn groups_of_session(session: libc::pid_t) -> Vec<libc::pid_t> {
    let mut starts = vec![session];
    starts.extend(list().unwrap_or_default());
    // SAFETY: no pointers. A number that has come to mean another process by
    // now is of another session.
    let group = |pid| unsafe { (libc::getsid(pid) == session).then(|| libc::getpgid(pid)) };
    let mut groups: Vec<_> =
        with_descendants(starts).into_iter().filter_map(group).filter(|&group| group > 1).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Ends one process if it is of the session, and its group with it: the group
/// of a process of a session is of that session.
fn end_member(session: libc::pid_t, pid: libc::pid_t) {
    // SAFETY: no pointers. A number that has come to mean another process by
    // now is of another session.
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

/// Reaps the orphans that have ended by themselves. Called now and then while
/// programs run: a program that lives for long may leave many. True if some
/// are still there, which may outlive all programs (by a setsid of their own).
pub(super) fn reap_ended() -> bool {
    list().unwrap_or_default().into_iter().filter(|&pid| !reaped(pid)).count() > 0
}

/// Whether the orphan had ended; it is reaped then.
fn reaped(pid: libc::pid_t) -> bool {
    reap(libc::P_PID, pid.unsigned_abs(), libc::WEXITED | libc::WNOHANG).is_ok_and(|exit| exit.is_some())
}

/// Waits until the orphan has ended, and reaps it.
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
