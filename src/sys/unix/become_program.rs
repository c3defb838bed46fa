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
use super::spawn::Report;
use super::{close, errno};

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

/// The step that failed, and errno.
pub(super) type Failure = (Step, c_int);

/// Fails at `step` with errno unless `result` is a success.
fn at(step: Step, result: libc::c_long) -> Result<(), Failure> {
    if result == -1 { Err((step, errno())) } else { Ok(()) }
}

impl ChildSetup<'_> {
    /// Turns this process into the program; returns only if that fails.
    ///
    /// # Safety
    /// Runs in a new child with all signals blocked, and the pointers of
    /// `self` are valid C strings and null-terminated arrays of such.
    pub(super) unsafe fn become_program(&self, report: &Report<'_>) -> Failure {
        // SAFETY: the caller's promise is passed on.
        match unsafe { self.steps(report) } {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    /// # Safety
    /// As `become_program`.
    unsafe fn steps(&self, report: &Report<'_>) -> Result<std::convert::Infallible, Failure> {
        let at_step = |step| self.reaches(step, report);
        // SAFETY: plain system calls on values owned by the caller; every
        // pointer is valid by the caller's promise. Only async-signal-safe
        // functions are called.
        unsafe {
            if let Some(cgroup_procs) = self.cgroup_procs {
                at_step(Step::Limits)?;
                // First, so that whatever it does is counted; and while it may.
                let written = libc::write(cgroup_procs, c"0".as_ptr().cast(), 1);
                at(Step::Limits, if written == 1 { 0 } else { -1 })?;
            }
            if let Some(streams) = self.stdio {
                at_step(Step::Session)?;
                at(Step::Session, libc::setsid().into())?;
                at_step(Step::Stdio)?;
                for (descriptor, stream) in streams.into_iter().zip(0..) {
                    at(Step::Stdio, libc::dup2(descriptor, stream).into())?;
                }
            } else {
                at(Step::Session, libc::setpgid(0, 0).into())?;
            }
            if let Some(terminal) = self.terminal {
                // All signals are blocked, so SIGTTOU stops nothing here.
                at(Step::Stdio, libc::tcsetpgrp(terminal, libc::getpid()).into())?;
            }
            if let Some(stderr) = self.stderr {
                at(Step::Stdio, libc::dup2(stderr, 2).into())?;
            }
            // The cgroup's file and the originals of the streams are not needed any more.
            close::close_all_but(3, report.kept());
            libc::umask(0o022);
            at_step(Step::Limits)?;
            for (resource, limit) in self.limits {
                at(Step::Limits, libc::setrlimit(*resource, limit).into())?;
            }
            if let Some(account) = self.account {
                self.take_identity(account, report)?;
            }
            at_step(Step::Directory)?;
            at(Step::Directory, libc::chdir(self.directory).into())?;
            // A handler of ours must not run in the child, so dispositions
            // go back to default before the mask is opened.
            let default: libc::sigaction = std::mem::zeroed();
            for &signal in self.signals {
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            at_step(Step::Exec)?;
            libc::execve(self.path, self.arguments, self.environment);
            Err((Step::Exec, errno()))
        }
    }

    /// Says that this step is reached. Fails if a test wants that.
    fn reaches(&self, step: Step, report: &Report<'_>) -> Result<(), Failure> {
        report.reaches(step);
        self.injected.at(step)
    }

    /// Takes the account's groups, group and user, each checked, then proves that
    /// there is no way back.
    ///
    /// # Safety
    /// Runs in the child only: on Linux these are raw system calls that change
    /// this one thread, where the C library's would change all threads of ours.
    unsafe fn take_identity(&self, account: &Account, report: &Report<'_>) -> Result<(), Failure> {
        let at_step = |step| self.reaches(step, report);
        // SAFETY: the caller's promise; the groups' pointer and length belong together.
        unsafe {
            // An unprivileged server stays who it is: `Account::take` has compared
            // the ids and found no group that the account lacks. Capabilities that
            // it holds are given up all the same. Its keyring is the account's already.
            if !account.is_own {
                at_step(Step::Keyring)?;
                join_new_keyring()?;
                at_step(Step::Groups)?;
                identity::set_groups(&account.groups).map_err(|code| (Step::Groups, code))?;
                at_step(Step::Group)?;
                if !self.injected.lies_at(Step::Group) {
                    identity::set_gid(account.gid).map_err(|code| (Step::Group, code))?;
                }
                at_step(Step::User)?;
                if !self.injected.lies_at(Step::User) {
                    identity::set_uid(account.uid).map_err(|code| (Step::User, code))?;
                }
            }
            at_step(Step::Privileges)?;
            identity::prove(account).map_err(|code| (Step::Privileges, code))
        }
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
fn join_new_keyring() -> Result<(), Failure> {
    const UNNAMED: *const c_char = std::ptr::null();
    // SAFETY: a null name asks for a new keyring without a name. It changes this one task.
    match unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, UNNAMED) } {
        -1 => match errno() {
            // A kernel without keys, or a container whose seccomp filter denies the call. The
            // program inherits that filter and can use no keyring at all.
            libc::ENOSYS | libc::EPERM => Ok(()),
            code => Err((Step::Keyring, code)),
        },
        _ => Ok(()),
    }
}

/// Only Linux has session keyrings.
#[cfg(not(target_os = "linux"))]
fn join_new_keyring() -> Result<(), Failure> {
    Ok(())
}
