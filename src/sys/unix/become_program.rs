//! What a new child does before the program's first instruction. Nothing here allocates, locks or uses the C library where it
//! would touch other threads: on Linux the child runs in our memory.
//!
//! Order matters. The identity is taken before the directory and the program
//! are looked at, so that both are reached with the rights of the account. From
//! then on any process of the account can stop this one, so all that is the
//! server's is closed before: a stopped process must hold no listener.

use std::ffi::{c_char, c_int};

use super::super::Step;
use super::account::Account;
use super::identity;
use super::injected_failure::InjectedFailure;
use super::limits::ProcessLimit;
use super::report::ChildReport;
use super::{Failure, checked, close, errno};

/// All that a child needs, made before it is started. The pointers are valid
/// until the call that starts the child returns.
pub(super) struct ChildSetup<'a> {
    pub path: *const c_char,
    pub arguments: *const *const c_char,
    pub environment: *const *const c_char,
    pub directory: *const c_char,
    /// Its three streams. Without them the program keeps ours (`--run`), in a process
    /// group of its own in our session.
    pub stdio: Option<[c_int; 3]>,
    /// A stream at the terminal of our session, whose keys the program gets.
    pub terminal: Option<c_int>,
    /// What takes the place of standard error.
    pub stderr: Option<c_int>,
    pub account: Option<&'a Account>,
    pub limits: &'a [ProcessLimit],
    /// The child writes itself into this `cgroup.procs`.
    pub cgroup_procs: Option<c_int>,
    /// Signals whose disposition is not the default in our process.
    pub signals: &'a [c_int],
    /// Which of the steps is to fail in a build for tests: decided before, since
    /// nothing may be asked here.
    pub injected: InjectedFailure,
}

/// Runs the steps of a child, reports each, and lets the one fail that a test has chosen.
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
    /// Turns this process into the program; returns only if that fails.
    ///
    /// # Safety
    /// Runs in a new child with all signals blocked, and the pointers of
    /// `self` are valid C strings and null-terminated arrays of such.
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
        // SAFETY: plain system calls on values owned by the caller; every
        // pointer is valid by the caller's promise. Only async-signal-safe
        // functions are called.
        unsafe {
            if let Some(cgroup_procs) = self.cgroup_procs {
                // First, so that the cgroup counts all that the child does; and while it may.
                steps.run(Step::Limits, || enter_cgroup(cgroup_procs))?;
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
            // The cgroup's file and the originals of the streams are not needed any more.
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

    /// A handler of ours must not run in the child, so dispositions go back to default
    /// before the mask is opened.
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

/// Takes the account's groups, group and user, each checked, then proves that
/// there is no way back.
///
/// # Safety
/// Runs in the child only: on Linux these are raw system calls that change
/// this one thread, where the C library's would change all threads of ours.
unsafe fn take_identity(account: &Account, steps: &Steps<'_>) -> Result<(), Failure> {
    // SAFETY: the caller's promise; the groups' pointer and length belong together.
    unsafe {
        // An unprivileged server stays who it is: `Account::take` has compared
        // the ids and found no group that the account lacks. Capabilities that
        // it holds are given up all the same. Its keyring is the account's already.
        if !account.is_own {
            steps.run(Step::Keyring, join_new_keyring)?;
            steps.run(Step::Groups, || identity::set_groups(&account.groups))?;
            steps.run(Step::Group, || identity::set_gid(account.gid))?;
            steps.run(Step::User, || identity::set_uid(account.uid))?;
        }
        steps.run(Step::Privileges, || identity::prove(account))
    }
}

/// A session keyring of its own, empty, without a link to the server's: there a
/// program of another account would find and leave keys.
///
/// It is made before the identity is taken, so its owner is the server, and the
/// program has it by possession. As the account's own it would count against that
/// account's quota (`kernel.keys.maxkeys`, 200 by default), so that its programs could
/// neither be more than that nor use keys themselves.
#[cfg(target_os = "linux")]
fn join_new_keyring() -> Result<(), c_int> {
    const UNNAMED: *const c_char = std::ptr::null();
    // SAFETY: a null name asks for a new keyring without a name. It changes this one task.
    match unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, UNNAMED) } {
        -1 => match errno() {
            // A kernel without keys, or a container whose seccomp filter denies the call. The
            // program inherits that filter and can use no keyring at all.
            libc::ENOSYS | libc::EPERM => Ok(()),
            code => Err(code),
        },
        _ => Ok(()),
    }
}

/// Only Linux has session keyrings.
#[cfg(not(target_os = "linux"))]
fn join_new_keyring() -> Result<(), c_int> {
    Ok(())
}
