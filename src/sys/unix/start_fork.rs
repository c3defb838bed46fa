//! fork, with a pipe that exec closes. The child writes each step, and its failure, into the pipe.

use std::io::Read;

use super::super::Step;
use super::super::attempt::Attempt;
use super::super::fault::{self, Says};
use super::become_program::ChildSetup;
use super::cgroup::Cgroup;
use super::child::Child;
use super::report::{ChildReport, REACHED};
use super::{Failure, errno};

/// No start here has a cgroup.
pub(super) const CGROUP_IS_GONE: [libc::c_int; 0] = [];

/// There is no cgroup to be born in.
pub(super) fn enters_by_clone() -> bool {
    false
}

pub(super) fn start_child(
    setup: &ChildSetup<'_>,
    _cgroup: Option<&Cgroup>,
    attempt: &Attempt,
) -> Result<Child, Failure> {
    let failed = |error: std::io::Error| (Step::Spawn, error.raw_os_error().unwrap_or(0));
    let pipe = fault::point("fork-pipe", Says::Descriptors).and_then(|()| std::io::pipe());
    let (mut reader, writer) = pipe.map_err(failed)?;
    fault::point("clone", Says::Processes).map_err(failed)?;
    if !attempt.begin() {
        return Err((Step::Spawn, libc::ECANCELED));
    }
    // SAFETY: the child calls async-signal-safe functions only, and ends by exec or _exit.
    let pid = unsafe { libc::fork() };
    if pid == -1 {
        let code = errno();
        attempt.finish();
        return Err((Step::Spawn, code));
    }
    if pid == 0 {
        // SAFETY: the new child, with signals blocked. fork has copied the pointers of `setup`.
        unsafe {
            let report = ChildReport::to(&writer);
            let (step, code) = setup.become_program(&report);
            report.fails(step, code);
            libc::_exit(127);
        }
    }
    drop(writer);
    if !attempt.set_child(pid) {
        // SAFETY: no pointers; our child, not reaped yet.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    let mut failure = None;
    let mut message = [0u8; 8];
    while failure.is_none() && reader.read_exact(&mut message).is_ok() {
        let word =
            |at: usize| i32::from_ne_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]]);
        let step = usize::try_from(word(0)).ok().and_then(|index| Step::ALL.get(index)).copied();
        let step = step.unwrap_or(Step::Spawn);
        attempt.reach(step);
        failure = (word(4) != REACHED).then_some((step, word(4)));
    }
    let cancelled = attempt.finish();
    let killed = cancelled.then(|| (attempt.step(), libc::ECANCELED));
    let Some(failure) = failure.or(killed) else { return Ok(Child::new(pid)) };
    // SAFETY: a null status is allowed. The child is ours, and has ended or was killed.
    unsafe {
        libc::kill(-pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    Err(failure)
}
