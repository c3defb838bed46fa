//! Starts a program: on Linux by a clone that shares our memory, elsewhere by fork.

use std::ffi::{CString, OsStr, c_char, c_int};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use super::super::fault::{self, Says};
use super::super::{ErrorStream, ProgramFault, SpawnError, Start, Stdio, Step};
use super::become_program::ChildSetup;
use super::cgroup::Cgroup;
use super::child::Child;
use super::command::Command;
use super::injected_failure::InjectedFailure;
use super::limits;
use super::start_child::{CGROUP_IS_GONE, enters_by_clone, start_child};
use super::{Failure, terminal};

pub fn spawn(start: &Start<'_>) -> Result<Child, SpawnError> {
    let command = Command::new(start.command).map_err(ProgramFault::from)?;
    let program = command.to_start()?;
    let path = c_string(program.as_os_str())?;
    let directory = c_string(start.directory.as_os_str())?;
    let arguments = command.arguments();
    let environment = start
        .environment
        .iter()
        .map(|(name, value)| c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat())))
        .collect::<Result<Vec<_>, _>>()?;
    let (argument_pointers, environment_pointers) = (pointers(arguments), pointers(&environment));
    let stdio_fault = |error| SpawnError::of_system(Step::Stdio, &error);
    let nowhere = match start.errors {
        ErrorStream::Nowhere => Some(nowhere().map_err(stdio_fault)?),
        ErrorStream::Output | ErrorStream::Pipe(_) => None,
    };
    give_pipes(start).map_err(stdio_fault)?;
    let limits = limits::of_process(start.limits);
    let mut setup = ChildSetup {
        path: path.as_ptr(),
        arguments: argument_pointers.as_ptr(),
        environment: environment_pointers.as_ptr(),
        directory: directory.as_ptr(),
        stdio: match start.stdio {
            Stdio::Connection(socket) => Some([socket.as_raw_fd(); 3]),
            Stdio::Pipes { input, output } => {
                Some([input.as_raw_fd(), output.as_raw_fd(), output.as_raw_fd()])
            }
            Stdio::Console => None,
        },
        terminal: match start.stdio {
            Stdio::Console => terminal::own_stream(),
            Stdio::Connection(_) | Stdio::Pipes { .. } => None,
        },
        stderr: match start.errors {
            ErrorStream::Output => None,
            ErrorStream::Nowhere => nowhere.as_ref().map(AsRawFd::as_raw_fd),
            ErrorStream::Pipe(end) => Some(end.as_raw_fd()),
        },
        account: start.account,
        limits: &limits,
        cgroup_procs: Vec::new(),
        signals: changed_signals(),
        injected: InjectedFailure::none(),
    };
    let mut tries = 0;
    let (mut child, mut cgroup) = loop {
        let by_clone = enters_by_clone();
        let mut cgroup = Cgroup::new(start.limits, by_clone)?;
        setup.cgroup_procs = cgroup.as_ref().map(Cgroup::procs).unwrap_or_default();
        setup.injected = InjectedFailure::of(start, !setup.cgroup_procs.is_empty());
        let signals_blocked = SignalsBlocked::now();
        let started = start_child(&setup, cgroup.as_ref(), start.attempt);
        drop(signals_blocked);
        tries += 1;
        match started {
            Ok(child) => break (child, cgroup),
            Err(failure) if tries < MOST_TRIES && is_due_to_cgroup(failure, &mut cgroup, by_clone) => {}
            Err((step, code)) => return Err(in_words(step, code, start.directory, &program)),
        }
    };
    if let Some(cgroup) = &mut cgroup {
        cgroup.close_procs();
    }
    if let Stdio::Console = start.stdio {
        child.stays_in_our_session();
    }
    child.cgroup = cgroup;
    Ok(child)
}

/// One for each way into a cgroup, and one without.
const MOST_TRIES: usize = 3;

/// Whether no program ran because its cgroup let the child not in. Then the next try takes another
/// way.
fn is_due_to_cgroup((step, code): Failure, cgroup: &mut Option<Cgroup>, by_clone: bool) -> bool {
    match cgroup {
        // Another process has removed this cgroup and perhaps the other free ones.
        Some(cgroup) if step == Step::Spawn && CGROUP_IS_GONE.contains(&code) => {
            cgroup.was_removed();
            true
        }
        // `start_child` has found that clone3 does not work here.
        Some(_) if by_clone => !enters_by_clone(),
        Some(cgroup) if step == Step::Limits && cgroup.is_needless() => {
            Cgroup::do_without();
            true
        }
        _ => false,
    }
}

/// Whether the system has run out of a resource, which says nothing about the program.
pub fn ran_out(error: &SpawnError) -> bool {
    matches!(
        error.code,
        Some(
            libc::EAGAIN
                | libc::ENOMEM
                | libc::EMFILE
                | libc::ENFILE
                | libc::ENOSPC
                | libc::ENOBUFS
                | libc::EDQUOT
        )
    )
}

fn give_pipes(start: &Start<'_>) -> io::Result<()> {
    let Some(account) = start.account.filter(|account| !account.is_own) else { return Ok(()) };
    match start.stdio {
        Stdio::Pipes { input, output } => {
            input.give_to(account)?;
            output.give_to(account)?;
        }
        Stdio::Console => terminal::give_to(account)?,
        Stdio::Connection(_) => {}
    }
    if let ErrorStream::Pipe(end) = start.errors {
        end.give_to(account)?;
    }
    Ok(())
}

fn nowhere() -> io::Result<File> {
    fault::point("null-open", Says::Descriptors)?;
    File::options().read(true).write(true).open("/dev/null")
}

pub fn is_transient(error: &SpawnError) -> bool {
    error.step == Step::Spawn && matches!(error.code, Some(libc::EAGAIN | libc::ENOMEM))
}

fn in_words(step: Step, code: c_int, directory: &Path, program: &Path) -> SpawnError {
    let error = io::Error::from_raw_os_error(code);
    // The account may see a program that the server cannot, so execve decides first.
    let step =
        if step == Step::Exec && code == libc::ENOENT && !program.exists() { Step::Program } else { step };
    let cause = match step {
        Step::Directory => format!("{}: {error}", directory.display()),
        Step::Exec if code == libc::ENOEXEC => {
            format!("{}: {error} (a script needs a first line such as #!/bin/sh)", program.display())
        }
        Step::Exec if code == libc::ENOENT && program.exists() => {
            format!("{}: the interpreter or loader that it names is missing", program.display())
        }
        Step::Exec | Step::Program => format!("{}: {error}", program.display()),
        Step::Keyring if code == libc::EDQUOT => format!(
            "{error}: the server's user may have no more session keyrings; raise kernel.keys.maxkeys by sysctl"
        ),
        _ => error.to_string(),
    };
    SpawnError { step, cause, code: Some(code) }
}

fn c_string(text: &OsStr) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|error| SpawnError::new(Step::Spawn, error))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// All handlers exist before the first start, so one query is enough.
fn changed_signals() -> &'static [c_int] {
    static CHANGED: OnceLock<Vec<c_int>> = OnceLock::new();
    CHANGED.get_or_init(|| {
        (1..=64)
            .filter(|&signal| {
                // SAFETY: zeroes are a valid sigaction, and asking changes nothing.
                unsafe {
                    let mut action: libc::sigaction = std::mem::zeroed();
                    libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                        && action.sa_sigaction != libc::SIG_DFL
                }
            })
            .collect()
    })
}

/// Blocks all signals of this thread until dropped: a handler in the child would run in our memory.
struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    fn now() -> Self {
        // SAFETY: both sets are valid, writable values of this thread.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            SignalsBlocked { before }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that was in force before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}
