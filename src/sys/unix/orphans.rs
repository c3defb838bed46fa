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
use std::sync::OnceLock;

use super::child::reap;
use super::poll;

/// The list of orphans; none if this kernel or container has no such file.
static CHILDREN: OnceLock<Option<File>> = OnceLock::new();

/// Makes this process the one that orphans come to.
pub(super) fn adopt() {
    CHILDREN.get_or_init(|| {
        let pid = std::process::id();
        let file = File::open(format!("/proc/self/task/{pid}/children")).ok()?;
        // SAFETY: no pointers. Without the list we could not reap what comes
        // to us, so the order matters.
        let adopted = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } == 0;
        adopted.then_some(file)
    });
}

/// The orphans that are our children now; `None` if they can't be listed.
fn list() -> Option<Vec<libc::pid_t>> {
    let file = CHILDREN.get()?.as_ref()?;
    let mut text = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        let length = file.read_at(&mut chunk, text.len() as u64).ok()?;
        if length == 0 {
            break;
        }
        text.extend_from_slice(&chunk[..length]);
    }
    Some(
        text.split(|&byte| byte == b' ')
            .filter_map(|word| std::str::from_utf8(word).ok()?.trim().parse().ok())
            .collect(),
    )
}

/// Ends every process of the session, whose leader has ended but is not reaped.
pub(super) async fn end_session(session: libc::pid_t) {
    loop {
        let Some(orphans) = list() else {
            // SAFETY: no pointers; the unreaped leader keeps the number ours.
            unsafe { libc::kill(-session, libc::SIGKILL) };
            return;
        };
        // A process of ours keeps its number until we reap it, so numbers
        // from the list can't mean strangers here.
        // SAFETY: no pointers.
        let left = orphans.into_iter().find(|&pid| unsafe { libc::getsid(pid) } == session && !reaped(pid));
        let Some(pid) = left else { return };
        // SAFETY: no pointers. The group of a process of that session is of that session.
        unsafe {
            let group = libc::getpgid(pid);
            if group > 1 {
                libc::kill(-group, libc::SIGKILL);
            }
            libc::kill(pid, libc::SIGKILL);
        }
        if ended(pid).await.is_err() {
            return;
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
