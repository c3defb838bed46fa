//! Chooses the step that fails in a debug build. The child cannot ask: it shares our memory.

use std::ffi::c_int;

use super::super::{Start, Step};
#[cfg(debug_assertions)]
use super::Failure;

#[cfg(debug_assertions)]
pub(super) use in_tests::InjectedFailure;

#[cfg(not(debug_assertions))]
pub(super) struct InjectedFailure;

#[cfg(not(debug_assertions))]
impl InjectedFailure {
    pub(super) fn none() -> InjectedFailure {
        InjectedFailure
    }

    pub(super) fn of(_: &Start<'_>, _cgroup: bool) -> InjectedFailure {
        InjectedFailure
    }

    #[inline(always)]
    pub(super) fn at(&self, _: Step, call: impl FnOnce() -> Result<(), c_int>) -> Result<(), c_int> {
        call()
    }
}

#[cfg(debug_assertions)]
mod in_tests {
    use super::{Failure, Start, Step, c_int};
    use crate::sys::fault::{Says, point};
    use crate::sys::{ErrorStream, Stdio};

    /// `lies` is a step that reports success without doing anything.
    pub(in super::super) struct InjectedFailure {
        fails: Option<Failure>,
        lies: Option<Step>,
        stops: Option<Step>,
    }

    impl InjectedFailure {
        pub(in super::super) fn none() -> InjectedFailure {
            InjectedFailure { fails: None, lies: None, stops: None }
        }

        pub(in super::super) fn of(start: &Start<'_>, cgroup: bool) -> InjectedFailure {
            let connected = !matches!(start.stdio, Stdio::Console);
            let other = start.account.is_some_and(|account| !account.is_own);
            let steps = [
                (cgroup, Step::Limits, "child:cgroup", Says::Device),
                (connected, Step::Session, "child:session", Says::Privilege),
                (
                    connected || !matches!(start.errors, ErrorStream::Output),
                    Step::Stdio,
                    "child:stdio",
                    Says::Descriptors,
                ),
                (true, Step::Limits, "child:limits", Says::Privilege),
                (other && cfg!(target_os = "linux"), Step::Keyring, "child:keyring", Says::Memory),
                (other, Step::Groups, "child:groups", Says::Privilege),
                (other, Step::Group, "child:group", Says::Privilege),
                (other, Step::User, "child:user", Says::Processes),
                (start.account.is_some(), Step::Privileges, "child:privileges", Says::Privilege),
                (true, Step::Directory, "child:directory", Says::Denied),
                (true, Step::Exec, "child:exec", Says::Memory),
            ];
            // Every point counts, even after the first failure.
            let failing: Vec<Failure> = steps
                .into_iter()
                .filter(|(has, ..)| *has)
                .filter_map(|(_, step, name, says)| Some((step, point(name, says).err()?.raw_os_error()?)))
                .collect();
            let lies = [(Step::Group, "child:group-lies"), (Step::User, "child:user-lies")];
            let lying: Vec<Step> = lies
                .into_iter()
                .filter(|(_, name)| other && point(name, Says::Privilege).is_err())
                .map(|(step, _)| step)
                .collect();
            let stops = point("child:stops", Says::Privilege).is_err().then_some(Step::Directory);
            InjectedFailure { fails: failing.first().copied(), lies: lying.first().copied(), stops }
        }

        #[inline(always)]
        pub(in super::super) fn at(
            &self,
            step: Step,
            call: impl FnOnce() -> Result<(), c_int>,
        ) -> Result<(), c_int> {
            if self.stops == Some(step) {
                // SAFETY: no pointers; this process is the child.
                unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
            }
            match self.fails {
                Some((failing, code)) if failing == step => Err(code),
                _ if self.lies == Some(step) => Ok(()),
                _ => call(),
            }
        }
    }
}
