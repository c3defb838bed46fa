//! What a new child does before the program's first instruction. On Linux it shares our memory, so
//! it must not allocate, lock, or call C library code that affects other threads.
//!
//! Order matters. The child takes the identity first, so the account's rights apply to the
//! directory and the program. From then on any process of the account can stop the child. So the
//! child first closes the server's descriptors: a stopped process must not hold a listener.

use std::ffi::{c_char, c_int};

use super::super::Step;
use super::account::Account;
use super::identity;
use super::injected_failure::InjectedFailure;
use super::limits::ProcessLimit;
use super::report::ChildReport;
use super::{Failure, checked, close, errno};

/// Prepared before the child starts. The pointers are valid until `start_child` returns.
pub(super) struct ChildSetup<'a> {
    pub path: *const c_char,
    pub arguments: *const *const c_char,
    pub environment: *const *const c_char,
    pub directory: *const c_char,
    /// `None` with `--run`: the program keeps our streams, in its own process group.
    pub stdio: Option<[c_int; 3]>,
    /// A stream at our session's terminal; the program becomes its foreground group.
    pub terminal: Option<c_int>,
    pub stderr: Option<c_int>,
    pub account: Option<&'a Account>,
    pub limits: &'a [ProcessLimit],
    /// Cgroups that the child enters by writing.
    pub cgroup_procs: Vec<c_int>,
    pub signals: &'a [c_int],
    /// The step that fails in a test build, chosen before the start.
    pub injected: InjectedFailure,
}

struct Steps<'a> {
    report: &'a ChildReport<'a>,
    injected: &'a InjectedFailure,
}

impl Steps<'_> {
    #[inline(always)]
    fn run(&self, step: Step, call: impl FnOnce() -> Result<(), c_int>) -> Result<(), Failure> {
        self.report.reaches(step);
        self.injected.at(step, call).map_err(|code| (step, code))
    }
}

impl ChildSetup<'_> {
    /// Replaces this process with the program; returns only on failure.
    ///
    /// # Safety
    /// The process is a new child with all signals blocked. The pointers of `self` are valid C
    /// strings and null-terminated arrays of them.
    pub(super) unsafe fn become_program(&self, report: &ChildReport<'_>) -> Failure {
        let steps = Steps { report, injected: &self.injected };
        // SAFETY: the caller's promise is passed on.
        match unsafe { self.run(&steps) } {
            Err(failure) => failure,
            // execve returns only if it fails.
            Ok(()) => (Step::Exec, libc::EIO),
        }
    }

    /// # Safety
    /// As `become_program`.
    unsafe fn run(&self, steps: &Steps<'_>) -> Result<(), Failure> {
        // SAFETY: the caller promises valid pointers, and every call is async-signal-safe.
        unsafe {
            for cgroup_procs in &self.cgroup_procs {
                // First, so that the cgroup counts everything, and while the child has the rights.
                steps.run(Step::Limits, || enter_cgroup(*cgroup_procs))?;
            }
            match self.stdio {
                Some(streams) => {
                    steps.run(Step::Session, || checked(libc::setsid()))?;
                    steps.run(Step::Stdio, || take_streams(streams))?;
                }
                None => steps.run(Step::Session, || checked(libc::setpgid(0, 0)))?,
            }
            if let Some(terminal) = self.terminal {
                // All signals are blocked, so SIGTTOU stops nothing here.
                steps.run(Step::Stdio, || checked(libc::tcsetpgrp(terminal, libc::getpid())))?;
            }
            if let Some(stderr) = self.stderr {
                steps.run(Step::Stdio, || checked(libc::dup2(stderr, 2)))?;
            }
            close::close_all_but(3, steps.report.kept());
            libc::umask(0o022);
            steps.run(Step::Limits, || set_limits(self.limits))?;
            if let Some(account) = self.account {
                take_identity(account, steps)?;
            }
            steps.run(Step::Directory, || checked(libc::chdir(self.directory)))?;
            self.reset_signals();
            steps.run(Step::Exec, || checked(libc::execve(self.path, self.arguments, self.environment)))
        }
    }

    /// A handler of ours must not run in the child, so the mask opens last.
    fn reset_signals(&self) {
        // SAFETY: zeroes are valid for both types, and the pointers are to values of this frame.
        unsafe {
            let default: libc::sigaction = std::mem::zeroed();
            for &signal in self.signals {
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        }
    }
}

fn enter_cgroup(cgroup_procs: c_int) -> Result<(), c_int> {
    // SAFETY: one byte of a constant is read.
    let written = unsafe { libc::write(cgroup_procs, c"0".as_ptr().cast(), 1) };
    if written == 1 { Ok(()) } else { Err(errno()) }
}

fn take_streams(streams: [c_int; 3]) -> Result<(), c_int> {
    for (descriptor, stream) in streams.into_iter().zip(0..) {
        // SAFETY: no pointers; the child's own three streams are replaced.
        checked(unsafe { libc::dup2(descriptor, stream) })?;
    }
    Ok(())
}

fn set_limits(limits: &[ProcessLimit]) -> Result<(), c_int> {
    for (resource, limit) in limits {
        // SAFETY: the pointer is to a limit that the caller has.
        checked(unsafe { libc::setrlimit(*resource, limit) })?;
    }
    Ok(())
}

/// Takes the account's groups, group and user, then proves that the child cannot go back.
///
/// # Safety
/// For the child only. These system calls change one thread on Linux; the C library would change
/// all threads of the server.
unsafe fn take_identity(account: &Account, steps: &Steps<'_>) -> Result<(), Failure> {
    // SAFETY: the caller's promise; the groups' pointer and length belong together.
    unsafe {
        // An unprivileged server has the identity already. `prove` drops its capabilities.
        if !account.is_own {
            steps.run(Step::Keyring, join_new_keyring)?;
            steps.run(Step::Groups, || identity::set_groups(&account.groups))?;
            steps.run(Step::Group, || identity::set_gid(account.gid))?;
            steps.run(Step::User, || identity::set_uid(account.uid))?;
        }
        steps.run(Step::Privileges, || identity::prove(account))
    }
}

/// Joins a new, empty session keyring. The server's keyring would share keys between accounts.
///
/// The server owns the new keyring. Owned by the account, it would count against that account's
/// quota (`kernel.keys.maxkeys`, 200 by default).
#[cfg(target_os = "linux")]
fn join_new_keyring() -> Result<(), c_int> {
    const UNNAMED: *const c_char = std::ptr::null();
    // SAFETY: a null name asks for a new keyring without a name. It changes this one task.
    match unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, UNNAMED) } {
        -1 => match errno() {
            // The kernel has no keys, or seccomp denies the call to the program too.
            libc::ENOSYS | libc::EPERM => Ok(()),
            code => Err(code),
        },
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn join_new_keyring() -> Result<(), c_int> {
    Ok(())
}
