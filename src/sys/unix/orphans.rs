//! Processes whose parents have ended. The server is a subreaper, so the kernel makes them children
//! of its first thread. Programs are children of spawn threads.
//!
//! The kernel reparents orphans before a program's end is visible, so a later list is complete.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::super::fault::{self, Says};
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

pub(super) fn list() -> Option<Vec<libc::pid_t>> {
    read_list(CHILDREN.get()?.as_ref()?)
}

/// Whether there are none, at the cost of one small read.
pub(super) fn are_none() -> bool {
    let Some(Some(file)) = CHILDREN.get() else { return false };
    fault::point("orphans", Says::Memory).is_ok() && file.read_at(&mut [0], 0).is_ok_and(|length| length == 0)
}

fn read_list(file: &File) -> Option<Vec<libc::pid_t>> {
    fault::point("orphans", Says::Memory).ok()?;
    let mut text = Vec::new();
    let mut chunk = [0u8; 16 << 10];
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

/// Limit of processes per walk.
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

/// When each orphan was first seen. A program's processes are those that came after its start, so
/// the end of a session need not look at thousands of older ones.
static SEEN: Mutex<Option<HashMap<libc::pid_t, u64>>> = Mutex::new(None);
static ROUND: AtomicU64 = AtomicU64::new(0);

fn seen() -> MutexGuard<'static, Option<HashMap<libc::pid_t, u64>>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time of a start, for [`since`].
pub(super) fn now() -> u64 {
    ROUND.load(Ordering::SeqCst)
}

/// The orphans that came after this time. `None` without the list.
pub(super) fn since(time: u64) -> Option<Vec<libc::pid_t>> {
    let mut seen = seen();
    // Within the lock: a number that is reaped and used again meanwhile must not keep its time.
    let mut list = list()?;
    let round = ROUND.fetch_add(1, Ordering::SeqCst) + 1;
    let seen = seen.get_or_insert_default();
    list.retain(|&pid| *seen.entry(pid).or_insert(round) > time);
    Some(list)
}

/// Reaps a process if it is an orphan that has ended.
pub(super) fn is_reaped(pid: libc::pid_t) -> bool {
    let mut seen = seen();
    let reaped = reap(libc::P_PID, pid.unsigned_abs(), 0).is_ok_and(|ended| ended.is_some());
    if let Some(seen) = seen.as_mut().filter(|_| reaped) {
        seen.remove(&pid);
    }
    reaped
}

/// Call this periodically in the first thread: a long-lived program may leave many orphans. True if
/// some still run.
pub(super) fn reap_ended() -> bool {
    // SAFETY: no pointers.
    if i64::from(unsafe { libc::gettid() }) != i64::from(std::process::id()) {
        return list().unwrap_or_default().into_iter().filter(|&pid| !is_reaped(pid)).count() > 0;
    }
    let mut seen = seen();
    loop {
        // Children of this thread are orphans. Programs are children of other threads.
        match reap(libc::P_ALL, 0, libc::__WNOTHREAD) {
            Ok(Some((pid, _))) => {
                if let Some(seen) = seen.as_mut() {
                    seen.remove(&pid);
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Limit of descriptors per scan. A program that opens many must not hold the thread.
const MOST_LOOKED_AT: usize = 1 << 14;

/// Whether an orphan or its descendant has a descriptor with this link in /proc. Misses those
/// beyond [`MOST_LOOKED_AT`], and processes of other accounts without CAP_SYS_PTRACE.
pub(super) fn have(name: &Path) -> bool {
    let processes = with_descendants(list().unwrap_or_default());
    let folders = processes.into_iter().map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")));
    let mut descriptors = folders.flatten().flatten().flatten().take(MOST_LOOKED_AT);
    descriptors.any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|found| found == name))
}
