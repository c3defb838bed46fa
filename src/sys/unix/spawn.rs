//! Starting a program. On Linux by a clone that shares our memory until the
//! program runs, so that its cost does not grow with our size; elsewhere by
//! fork. Both hold their caller until the program runs or has failed to.

use std::ffi::{CString, OsStr, c_char, c_int};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use super::super::fault::{self, Says};
use super::super::{Errors, SpawnError, Start, Stdio, Step};
use super::become_program::{Birth, Failure};
use super::cgroup::Cgroup;
use super::child::Child;
use super::foreseen::Foreseen;
use super::limits;
use super::terminal;
pub(super) use imp::Report;

/// Starts the program. Blocks its thread.
pub fn spawn(start: &Start<'_>) -> Result<Child, SpawnError> {
    let program = start.command.to_start().map_err(|fault| SpawnError::new(Step::Program, fault.message))?;
    let path = c_string(program.as_os_str())?;
    let directory = c_string(start.directory.as_os_str())?;
    let arguments = start.command.arguments();
    let environment = start
        .environment
        .iter()
        .map(|(name, value)| c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat())))
        .collect::<Result<Vec<_>, _>>()?;
    let (argument_pointers, environment_pointers) = (pointers(arguments), pointers(&environment));
    let stdio_fault = |error| SpawnError::of_system(Step::Stdio, &error);
    let nowhere = match start.errors {
        Errors::Nowhere => Some(nowhere().map_err(stdio_fault)?),
        Errors::Output | Errors::Pipe(_) => None,
    };
    give_pipes(start).map_err(stdio_fault)?;
    let mut cgroup = start.limits.processes.map(Cgroup::new).transpose()?;
    let limits = limits::of_process(start.limits);
    let birth = Birth {
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
            Errors::Output => None,
            Errors::Nowhere => nowhere.as_ref().map(AsRawFd::as_raw_fd),
            Errors::Pipe(end) => Some(end.as_raw_fd()),
        },
        account: start.account,
        limits: &limits,
        cgroup: cgroup.as_ref().map(Cgroup::door),
        signals: changed_signals(),
        foreseen: Foreseen::of(start, cgroup.is_some()),
    };
    let signals_blocked = SignalsBlocked::now();
    let result = imp::give_birth(&birth, start.attempt);
    drop(signals_blocked);
    let mut child = result.map_err(|(step, code)| in_words(step, code, start.directory, &program))?;
    if let Some(cgroup) = &mut cgroup {
        cgroup.close_door();
    }
    if let Stdio::Console = start.stdio {
        child.stays_in_our_session();
    }
    child.cgroup = cgroup;
    Ok(child)
}

/// Whether the system has run out of something, which others may have taken: it
/// says nothing about the program.
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

/// Pipes are the account's, and so is the terminal of `--run`.
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
    if let Errors::Pipe(end) = start.errors {
        end.give_to(account)?;
    }
    Ok(())
}

fn nowhere() -> io::Result<File> {
    fault::point("null-open", Says::Descriptors)?;
    File::options().read(true).write(true).open("/dev/null")
}

/// Whether the system lacked something that it may have a moment later.
pub fn is_transient(error: &SpawnError) -> bool {
    error.step == Step::Spawn && matches!(error.code, Some(libc::EAGAIN | libc::ENOMEM))
}

/// A failure, with what to do about it.
fn in_words(step: Step, code: c_int, directory: &Path, program: &Path) -> SpawnError {
    let error = io::Error::from_raw_os_error(code);
    // The account may see a program that we don't, so exec is asked first.
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

/// A null-terminated array, as execve wants it.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// The signals that are ignored or handled in this process, which a program
/// must find at their defaults. All handlers are in place before the first
/// program is started, so asking once is enough.
fn changed_signals() -> &'static [c_int] {
    static CHANGED: OnceLock<Vec<c_int>> = OnceLock::new();
    CHANGED.get_or_init(|| {
        (1..=64)
            .filter(|&signal| {
                // SAFETY: zeroes are a valid sigaction to be overwritten, and asking changes nothing.
                unsafe {
                    let mut action: libc::sigaction = std::mem::zeroed();
                    libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                        && action.sa_sigaction != libc::SIG_DFL
                }
            })
            .collect()
    })
}

/// No signal is delivered to this thread while this lives: a handler that ran
/// in the child would run in our memory.
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

#[cfg(all(target_os = "linux", not(portable_unix)))]
mod imp {
    //! clone with CLONE_VM and CLONE_VFORK: nothing is copied, and the caller
    //! sleeps until the child has the program's own memory.

    use std::cell::{Cell, RefCell};
    use std::ffi::{c_int, c_void};
    use std::os::fd::{FromRawFd, OwnedFd};

    use super::super::super::Step;
    use super::super::super::attempt::Attempt;
    use super::super::super::fault::{self, Says};
    use super::super::child::{Child, reap_pidfd};
    use super::{Birth, Failure};

    /// The child tells how far it has come through the memory that it shares with us.
    pub(in super::super) struct Report<'a>(&'a Attempt);

    impl Report<'_> {
        pub(in super::super) fn reaches(&self, step: Step) {
            self.0.reach(step);
        }

        /// A descriptor that it needs until its end.
        pub(in super::super) fn kept(&self) -> Option<c_int> {
            None
        }
    }

    /// Room for the few frames between birth and exec, with a margin for
    /// unoptimised builds.
    const STACK_BYTES: usize = 64 * 1024;
    const GUARD_BYTES: usize = 64 * 1024;

    thread_local! {
        /// The stack that children of this thread are born on, one at a time.
        static STACK: RefCell<Option<Stack>> = const { RefCell::new(None) };
    }

    struct Stack {
        base: *mut c_void,
    }

    impl Stack {
        fn new() -> Result<Stack, c_int> {
            let failed = |error: std::io::Error| error.raw_os_error().unwrap_or(0);
            fault::point("stack", Says::Memory).map_err(failed)?;
            // SAFETY: a new private mapping, its lowest part made inaccessible
            // so that an overflow ends the child instead of changing our memory.
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
                    return Err(super::errno());
                }
                Ok(Stack { base })
            }
        }

        fn top(&self) -> *mut c_void {
            // SAFETY: the result is one past the end of the mapping.
            unsafe { self.base.byte_add(STACK_BYTES + GUARD_BYTES) }
        }
    }

    impl Drop for Stack {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, and no child runs on it: each has
            // left our memory before give_birth returned.
            unsafe { libc::munmap(self.base, STACK_BYTES + GUARD_BYTES) };
        }
    }

    /// What the child writes before it gives up, read once it has.
    struct Shared<'a> {
        birth: &'a Birth<'a>,
        attempt: &'a Attempt,
        failure: Cell<Option<Failure>>,
    }

    extern "C" fn child(shared: *mut c_void) -> c_int {
        // SAFETY: the pointer is the one that give_birth passed, whose frame
        // lives and stands still until this child is gone. `_exit` ends the
        // child without running anything of the parent's.
        unsafe {
            let shared = &*shared.cast::<Shared<'_>>();
            // The child says so itself, since its parent sleeps. Until it takes the identity
            // only root can stop it.
            let failure = if shared.attempt.set_child(libc::getpid()) {
                shared.birth.become_program(&Report(shared.attempt))
            } else {
                (Step::Spawn, libc::ECANCELED)
            };
            shared.failure.set(Some(failure));
            libc::syscall(libc::SYS_exit_group, 127);
        }
        127
    }

    pub(super) fn give_birth(birth: &Birth<'_>, attempt: &Attempt) -> Result<Child, Failure> {
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
            let shared = Shared { birth, attempt, failure: Cell::new(None) };
            let mut pidfd: c_int = -1;
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
            // SAFETY: the child runs on a stack of its own, in our memory, while this
            // thread sleeps (CLONE_VFORK), with all signals blocked; what it uses is
            // borrowed by `shared`. The kernel writes the new descriptor to `pidfd`.
            let pid = unsafe {
                libc::clone(child, stack.top(), flags, (&raw const shared).cast_mut().cast(), &raw mut pidfd)
            };
            let cloned = if pid == -1 { Err((Step::Spawn, super::errno())) } else { Ok(()) };
            let cancelled = attempt.finish();
            cloned?;
            // SAFETY: the kernel made this descriptor for us just now.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            // Killed before it could say anything, or as its program just began.
            let killed = cancelled.then(|| (attempt.step(), libc::ECANCELED));
            match shared.failure.get().or(killed) {
                None => Ok(Child::new(pid, pidfd)),
                Some(failure) => {
                    // SAFETY: no pointers; the number is ours until the child is reaped.
                    unsafe { libc::kill(-pid, libc::SIGKILL) };
                    let _ = reap_pidfd(&pidfd);
                    Err(failure)
                }
            }
        })
    }
}

#[cfg(not(all(target_os = "linux", not(portable_unix))))]
mod imp {
    //! fork, with a pipe that exec closes: the child writes each step that it reaches,
    //! and why it could go no further.

    use std::ffi::c_int;
    use std::io::Read;
    use std::marker::PhantomData;
    use std::os::fd::AsRawFd;

    use super::super::super::Step;
    use super::super::super::attempt::Attempt;
    use super::super::super::fault::{self, Says};
    use super::super::child::Child;
    use super::{Birth, Failure};

    /// The child's end of the pipe.
    pub(in super::super) struct Report<'a> {
        writer: c_int,
        pipe: PhantomData<&'a std::io::PipeWriter>,
    }

    /// In the place of errno: the step is reached.
    const REACHED: c_int = 0;

    impl Report<'_> {
        pub(in super::super) fn reaches(&self, step: Step) {
            self.write(step, REACHED);
        }

        /// A descriptor that it needs until its end.
        pub(in super::super) fn kept(&self) -> Option<c_int> {
            Some(self.writer)
        }

        fn fails(&self, step: Step, code: c_int) {
            self.write(step, if code == REACHED { libc::EIO } else { code });
        }

        fn write(&self, step: Step, code: c_int) {
            let place = Step::ALL.iter().position(|&other| other == step).unwrap_or(0);
            let message = [c_int::try_from(place).unwrap_or(0), code];
            // SAFETY: the pointer and the length are those of the message.
            unsafe { libc::write(self.writer, message.as_ptr().cast(), size_of_val(&message)) };
        }
    }

    pub(super) fn give_birth(birth: &Birth<'_>, attempt: &Attempt) -> Result<Child, Failure> {
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
            let code = super::errno();
            attempt.finish();
            return Err((Step::Spawn, code));
        }
        if pid == 0 {
            // SAFETY: this is the new child, its signals are blocked, and the pointers of
            // `birth` were copied with our memory.
            unsafe {
                let report = Report { writer: writer.as_raw_fd(), pipe: PhantomData };
                let (step, code) = birth.become_program(&report);
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
            let word = |at: usize| {
                i32::from_ne_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]])
            };
            let step = usize::try_from(word(0)).ok().and_then(|index| Step::ALL.get(index)).copied();
            let step = step.unwrap_or(Step::Spawn);
            attempt.reach(step);
            failure = (word(4) != REACHED).then_some((step, word(4)));
        }
        let cancelled = attempt.finish();
        let killed = cancelled.then(|| (attempt.step(), libc::ECANCELED));
        let Some(failure) = failure.or(killed) else { return Ok(Child::new(pid)) };
        // SAFETY: a null status is allowed; the child is ours until it is reaped, and has ended
        // or was killed.
        unsafe {
            libc::kill(-pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
        Err(failure)
    }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
