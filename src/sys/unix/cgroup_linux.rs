//! A cgroup for each session with the limit `processes`. It counts processes and threads, and finds
//! processes that left the session.

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

/// The parent of the sessions' cgroups. A fault is not cached, because an administrator may fix it.
static HOME: Mutex<Option<Home>> = Mutex::new(None);

/// Why this system cannot enforce the limit `processes` now, and what to do. Changes nothing.
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

/// Cgroups that still had processes when their session ended. Later sessions remove them.
static NOT_GONE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn not_gone() -> MutexGuard<'static, Vec<PathBuf>> {
    NOT_GONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const PREFIX: &str = "wininetd-";

/// The processes of one session. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
    version: Version,
    /// Open until the child has written itself into it.
    cgroup_procs: Option<File>,
    is_over: bool,
}

impl Cgroup {
    pub(super) fn new(most: u32) -> Result<Cgroup, SpawnError> {
        let fault = |why: String| SpawnError::new(Step::Limits, why);
        let home = home().map_err(fault)?;
        not_gone().retain(|folder| !removed(folder));
        let folder = make_folder(&home.folder)
            .map_err(|error| fault(format!("a cgroup in {}: {error}", home.folder.display())))?;
        // From here on, Drop removes the cgroup if a step fails.
        let mut cgroup = Cgroup { folder, version: home.version, cgroup_procs: None, is_over: false };
        let prepared = fs::write(cgroup.folder.join("pids.max"), most.to_string())
            .and_then(|()| OpenOptions::new().write(true).open(cgroup.folder.join("cgroup.procs")));
        match prepared {
            Ok(cgroup_procs) => cgroup.cgroup_procs = Some(cgroup_procs),
            Err(error) => return Err(fault(format!("the cgroup {}: {error}", cgroup.folder.display()))),
        }
        Ok(cgroup)
    }

    /// A process writes `0` to this descriptor to enter.
    pub(super) fn cgroup_procs(&self) -> c_int {
        self.cgroup_procs.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    pub(super) fn close_cgroup_procs(&mut self) {
        self.cgroup_procs = None;
    }

    /// Kills all processes, also those that left the session, and removes the cgroup.
    pub(super) async fn end(mut self) {
        let mut pause = Duration::from_millis(1);
        // Killed processes stay until the kernel has removed them; a driver may hold one for long.
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

    /// The limit stays with the processes. Later sessions remove the cgroup.
    pub(super) fn leave(mut self) {
        self.is_over = true;
        if !removed(&self.folder) {
            not_gone().push(std::mem::take(&mut self.folder));
        }
    }

    fn kill(&self) {
        // Version 2 kills all at once, so no fork escapes.
        let at_once = self.version == Version::Two && fs::write(self.folder.join("cgroup.kill"), "1").is_ok();
        if at_once {
            return;
        }
        let Ok(processes) = self.processes() else { return };
        for (pid, pidfd) in processes.into_iter().filter_map(|pid| Some((pid, pidfd_of(pid)?))) {
            // The number may have been reused since. If it is still listed, the pidfd is of our
            // process.
            if self.processes().is_ok_and(|now| now.contains(&pid)) {
                // SAFETY: the only pointer is null, which sends the signal as kill(2) does.
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

/// Tries of `end`, in about five seconds.
const ROUNDS: usize = 55;

impl Drop for Cgroup {
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
            // A previous server with our number left it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(folder),
        }
    }
}

/// Removes empty cgroups of servers that no longer run. Those of a running server stay.
fn remove_leftovers(home: &Path) {
    let server = |name: &OsStr| -> Option<u32> {
        name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
    };
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if server(&entry.file_name()).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
