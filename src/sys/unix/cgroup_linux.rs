//! A session's processes as one cgroup, which limits how many there may be
//! and finds those that left the session. Only sessions with a limit of
//! processes have one, and without such nothing here is ever done.
//!
//! (The kernel counts threads as processes.)

use std::ffi::{OsStr, c_int};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::{SpawnError, Step};
use super::cgroup_home::{Home, Version};

/// Where sessions get their cgroups, once it is ready. A fault is looked at
/// anew each time: it may have been mended.
static HOME: Mutex<Option<Home>> = Mutex::new(None);

/// Why the limit `processes` can't be kept here now, and what to do. `None` if
/// it can. Nothing is changed by asking.
pub fn processes_fault() -> Option<String> {
    if HOME.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
        return None;
    }
    Home::find().err()
}

fn home() -> Result<Home, String> {
    let mut home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(home) = &*home {
        return Ok(home.clone());
    }
    let ready = Home::find()?.made_ready()?;
    remove_leftovers(&ready.folder);
    Ok(home.insert(ready).clone())
}

/// What was ended but not gone yet when there was no time to wait for it, and
/// what is left to itself. It is removed once it is empty.
static NOT_GONE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn not_gone() -> MutexGuard<'static, Vec<PathBuf>> {
    NOT_GONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of our cgroups begin so, then come the server's number and a count.
const PREFIX: &str = "wininetd-";

/// The processes of one session. They are ended when it is dropped.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
    version: Version,
    /// The file into which the child writes itself, until it has.
    cgroup_procs: Option<File>,
    /// Nothing is left to be ended or removed.
    is_over: bool,
}

impl Cgroup {
    /// A cgroup for at most so many processes.
    pub(super) fn new(most: u32) -> Result<Cgroup, SpawnError> {
        let fault = |why: String| SpawnError::new(Step::Limits, why);
        let home = home().map_err(fault)?;
        not_gone().retain(|folder| !removed(folder));
        let folder = make_folder(&home.folder)
            .map_err(|error| fault(format!("a cgroup in {}: {error}", home.folder.display())))?;
        // From here on it is removed again if something fails.
        let mut cgroup = Cgroup { folder, version: home.version, cgroup_procs: None, is_over: false };
        let prepared = fs::write(cgroup.folder.join("pids.max"), most.to_string())
            .and_then(|()| OpenOptions::new().write(true).open(cgroup.folder.join("cgroup.procs")));
        match prepared {
            Ok(cgroup_procs) => cgroup.cgroup_procs = Some(cgroup_procs),
            Err(error) => return Err(fault(format!("the cgroup {}: {error}", cgroup.folder.display()))),
        }
        Ok(cgroup)
    }

    /// The descriptor to which a process writes `0` to enter.
    pub(super) fn cgroup_procs(&self) -> c_int {
        self.cgroup_procs.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// For once the child is in.
    pub(super) fn close_cgroup_procs(&mut self) {
        self.cgroup_procs = None;
    }

    /// Ends what is left in it, also what left the session, and removes it.
    pub(super) async fn end(mut self) {
        let mut pause = Duration::from_millis(1);
        // What was killed is in it until the kernel has taken it down. What
        // does not go at all (held by a driver) is tried again by Drop and later.
        for _ in 0..ROUNDS {
            self.kill();
            if removed(&self.folder) {
                self.is_over = true;
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Its processes go on by themselves, and the limit stays with them. An empty
    /// one is removed at once, others when the next is made or at the next start.
    pub(super) fn leave(mut self) {
        self.is_over = true;
        if !removed(&self.folder) {
            not_gone().push(std::mem::take(&mut self.folder));
        }
    }

    fn kill(&self) {
        // Version 2 does it at once, so that no fork escapes.
        let at_once = self.version == Version::Two && fs::write(self.folder.join("cgroup.kill"), "1").is_ok();
        if at_once {
            return;
        }
        let Ok(processes) = self.processes() else { return };
        for (pid, pidfd) in processes.into_iter().filter_map(|pid| Some((pid, pidfd_of(pid)?))) {
            // Its number may have come to mean a stranger since the list was
            // read. If it is in the list still, the descriptor is of ours.
            if self.processes().is_ok_and(|now| now.contains(&pid)) {
                // SAFETY: no pointers but the null that means "as kill sends it".
                unsafe {
                    libc::syscall(
                        libc::SYS_pidfd_send_signal,
                        pidfd.as_raw_fd(),
                        libc::SIGKILL,
                        std::ptr::null::<libc::siginfo_t>(),
                        0,
                    )
                };
            }
        }
    }

    fn processes(&self) -> io::Result<Vec<libc::pid_t>> {
        let list = fs::read_to_string(self.folder.join("cgroup.procs"))?;
        Ok(list.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 1).collect())
    }
}

/// How often ending is tried: for some five seconds.
const ROUNDS: usize = 55;

impl Drop for Cgroup {
    /// Without waiting.
    fn drop(&mut self) {
        if self.is_over || removed(&self.folder) {
            return;
        }
        self.kill();
        if !removed(&self.folder) {
            not_gone().push(std::mem::take(&mut self.folder));
        }
    }
}

/// Removes a cgroup, which fails while somebody is in it.
fn removed(folder: &Path) -> bool {
    match fs::remove_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn pidfd_of(pid: libc::pid_t) -> Option<OwnedFd> {
    // SAFETY: no pointers; the descriptor that comes back is new and ours.
    unsafe {
        let descriptor = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let descriptor = c_int::try_from(descriptor).ok().filter(|&descriptor| descriptor >= 0)?;
        Some(OwnedFd::from_raw_fd(descriptor))
    }
}

fn make_folder(home: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = home.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match fs::create_dir(&folder) {
            // Of a server before us that had our number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(folder),
        }
    }
}

/// Removes what killed servers have left, where nobody is in it any more. A
/// server that lives keeps its own, which may be empty for a moment.
fn remove_leftovers(home: &Path) {
    let server = |name: &OsStr| -> Option<u32> {
        name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
    };
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if server(&entry.file_name()).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Fails where somebody is in it.
            let _ = fs::remove_dir(entry.path());
        }
    }
}
