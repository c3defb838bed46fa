//! clone with CLONE_VM and CLONE_VFORK: nothing is copied, and the caller sleeps until exec or
//! exit. With clone3 the child is born in its session's cgroup.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::Step;
use super::super::attempt::Attempt;
use super::super::fault::{self, Says};
use super::become_program::ChildSetup;
use super::cgroup::Cgroup;
use super::child::Child;
use super::clone3::Clone3;
use super::pidfd::Pidfd;
use super::remains::{self, Remains};
use super::report::ChildReport;
use super::{Failure, errno, orphans};

/// Enough for the few frames before exec, also in debug builds.
const STACK_BYTES: usize = 64 * 1024;
const GUARD_BYTES: usize = 64 * 1024;

thread_local! {
    /// One child at a time uses it.
    static STACK: RefCell<Option<Stack>> = const { RefCell::new(None) };
}

struct Stack {
    base: *mut c_void,
}

impl Stack {
    fn new() -> Result<Stack, c_int> {
        let failed = |error: std::io::Error| error.raw_os_error().unwrap_or(0);
        fault::point("stack", Says::Memory).map_err(failed)?;
        // SAFETY: a new private mapping. Its inaccessible lowest part stops a stack overflow.
        unsafe {
            let base = libc::mmap(
                std::ptr::null_mut(),
                STACK_BYTES + GUARD_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            );
            if base == libc::MAP_FAILED || libc::mprotect(base, GUARD_BYTES, libc::PROT_NONE) != 0 {
                return Err(errno());
            }
            Ok(Stack { base })
        }
    }

    fn bottom(&self) -> *mut c_void {
        // SAFETY: the result is within the mapping.
        unsafe { self.base.byte_add(GUARD_BYTES) }
    }

    fn top(&self) -> *mut c_void {
        // SAFETY: the result is one past the end of the mapping.
        unsafe { self.base.byte_add(STACK_BYTES + GUARD_BYTES) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours. Each child left our memory before start_child returned.
        unsafe { libc::munmap(self.base, STACK_BYTES + GUARD_BYTES) };
    }
}

struct ChildShared<'a> {
    setup: &'a ChildSetup<'a>,
    attempt: &'a Attempt,
    failure: Cell<Option<Failure>>,
}

extern "C" fn child(shared: *mut c_void) -> c_int {
    // SAFETY: start_child passed this pointer, and its frame outlives the child's use of our
    // memory. exit_group ends the child without running code of the parent.
    unsafe {
        let shared = &*shared.cast::<ChildShared<'_>>();
        // The parent sleeps, so the child stores its pid.
        let failure = if shared.attempt.set_child(libc::getpid()) {
            shared.setup.become_program(&ChildReport(shared.attempt))
        } else {
            (Step::Spawn, libc::ECANCELED)
        };
        shared.failure.set(Some(failure));
        libc::syscall(libc::SYS_exit_group, 127);
    }
    127
}

/// The kernel or a filter of system calls lacks clone3 or its flag: children enter by writing.
static LACKS_CLONE3: AtomicBool = AtomicBool::new(false);

/// Whether a child can be born in a cgroup here.
pub(super) fn enters_by_clone() -> bool {
    !LACKS_CLONE3.load(Ordering::Relaxed)
}

/// The errors of clone3 for a cgroup that was removed, or is being removed.
pub(super) const CGROUP_IS_GONE: [c_int; 2] = [libc::ENOENT, libc::ENODEV];

/// A killed child takes less, unless a process traces it.
const REAPED_WITHIN: Duration = Duration::from_secs(1);

const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;

/// Starts a process that runs `child`, in this cgroup. Returns its process ID.
///
/// # Safety
/// All signals of this thread are blocked, and `shared` outlives the child's use of our memory.
unsafe fn clone_child(
    stack: &Stack,
    shared: &ChildShared<'_>,
    cgroup: Option<c_int>,
    pidfd: &mut c_int,
) -> Result<libc::pid_t, c_int> {
    let shared = (&raw const *shared).cast_mut().cast();
    let Some(cgroup) = cgroup else {
        // SAFETY: the caller's promise. The child has its own stack, and the kernel writes to `pidfd`.
        let pid = unsafe { libc::clone(child, stack.top(), FLAGS | libc::SIGCHLD, shared, &raw mut *pidfd) };
        return if pid == -1 { Err(errno()) } else { Ok(pid) };
    };
    let stack = (stack.bottom(), STACK_BYTES);
    // SAFETY: as above.
    let result = unsafe { Clone3 { flags: FLAGS, stack, cgroup, run: child, shared }.start(pidfd) };
    libc::pid_t::try_from(result).map_err(|_| libc::EIO).and_then(|pid| match pid {
        ..0 => Err(-pid),
        pid => Ok(pid),
    })
}

pub(super) fn start_child(
    setup: &ChildSetup<'_>,
    cgroup: Option<&Cgroup>,
    attempt: &Attempt,
) -> Result<Child, Failure> {
    STACK.with_borrow_mut(|slot| {
        let stack = match slot {
            Some(stack) => stack,
            None => slot.insert(Stack::new().map_err(|code| (Step::Spawn, code))?),
        };
        let failed = |error: std::io::Error| (Step::Spawn, error.raw_os_error().unwrap_or(0));
        fault::point("clone", Says::Processes).map_err(failed)?;
        if !attempt.begin() {
            return Err((Step::Spawn, libc::ECANCELED));
        }
        let shared = ChildShared { setup, attempt, failure: Cell::new(None) };
        let mut pidfd: c_int = -1;
        let since = orphans::now();
        let cgroup = cgroup.and_then(Cgroup::tree).filter(|_| enters_by_clone());
        // SAFETY: the child runs while this thread sleeps with all signals blocked. `shared` borrows
        // all that it uses.
        let cloned = unsafe { clone_child(stack, &shared, cgroup, &mut pidfd) };
        let cancelled = attempt.finish();
        let pid = cloned.map_err(|code| {
            let passes = [libc::EAGAIN, libc::ENOMEM].contains(&code) || CGROUP_IS_GONE.contains(&code);
            if cgroup.is_some() && !passes {
                LACKS_CLONE3.store(true, Ordering::Relaxed);
            }
            (Step::Spawn, code)
        })?;
        // SAFETY: the kernel made this descriptor for us just now.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        // Killed before it reported a failure, or as its program just began.
        let killed = cancelled.then(|| (attempt.step(), libc::ECANCELED));
        match shared.failure.get().or(killed) {
            None => Ok(Child::new(pid, pidfd, since)),
            Some(failure) => {
                // SAFETY: no pointers; the number is ours until the child is reaped.
                unsafe { libc::kill(-pid, libc::SIGKILL) };
                let pidfd = Pidfd::from(pidfd);
                pidfd.wait(REAPED_WITHIN);
                if !matches!(pidfd.reap(), Ok(Some(_))) {
                    remains::keep(Remains::Program(pid));
                }
                Err(failure)
            }
        }
    })
}
