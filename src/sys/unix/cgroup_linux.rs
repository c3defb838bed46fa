//! The cgroups of one session: one that holds its whole tree, and those that count for its limits.
//!
//! A tree's cgroup comes from a pool, because making and removing one costs as much as a start. A
//! child is born in it (CLONE_INTO_CGROUP), so no process of the session is ever outside, and
//! `cgroup.kill` ends them all. Where no such cgroup can be made, `leftovers` finds the processes.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::{SpawnError, Step};
use super::cgroup_folder::{CgroupFolder, Members, remove_leftovers};
use super::cgroup_home::{Controller, Home, Version};
use super::remains::{self, Remains};
use crate::model::limits::Limits;

/// Cgroups of trees without processes, for the next sessions.
static FREE: Mutex<Vec<CgroupFolder>> = Mutex::new(Vec::new());

/// Free cgroups beyond these are removed. Each has two descriptors.
const MOST_FREE: usize = 64;

/// Where the cgroups of a controller are made. A fault is not cached, because an administrator may
/// fix it.
static COUNTING: Mutex<[Option<Home>; 2]> = Mutex::new([None, None]);

fn free() -> MutexGuard<'static, Vec<CgroupFolder>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why this system cannot enforce the limit `processes` now, and what to do. Changes nothing.
pub fn processes_fault() -> Option<String> {
    Home::find(Controller::Pids).err()
}

/// Removes the free cgroups.
pub(super) fn remove_free() {
    let folders = std::mem::take(&mut *free());
    for folder in folders {
        // One that cannot be removed stays empty; the next server removes it.
        let _ = folder.is_removed();
    }
}

/// Children cannot enter the cgroups that can be made.
static DOES_WITHOUT: AtomicBool = AtomicBool::new(false);

/// A cgroup for a tree. `None` if none can be made here.
fn tree() -> io::Result<Option<CgroupFolder>> {
    if DOES_WITHOUT.load(Ordering::Relaxed) {
        return Ok(None);
    }
    static HOME: OnceLock<Option<PathBuf>> = OnceLock::new();
    if let Some(folder) = free().pop() {
        return Ok(Some(folder));
    }
    let home = HOME.get_or_init(|| {
        let home = if without_cgroups() { None } else { Home::of_trees() };
        home.inspect(|home| remove_leftovers(home))
    });
    let Some(home) = home else { return Ok(None) };
    match CgroupFolder::make(home, Version::Two) {
        Ok(folder) => Ok(Some(folder)),
        // Out of descriptors or memory, which passes.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
            Err(error)
        }
        Err(_) => Ok(None),
    }
}

/// Adds a cgroup to the free ones. Returns it if there are enough.
fn given_back(tree: CgroupFolder) -> Option<CgroupFolder> {
    let mut free = free();
    if free.len() >= MOST_FREE {
        return Some(tree);
    }
    free.push(tree);
    None
}

fn counting(controller: Controller) -> Result<Home, String> {
    let mut homes = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let known = &mut homes[controller as usize];
    if let Some(home) = known {
        return Ok(home.clone());
    }
    let ready = Home::find(controller)?.made_ready(controller)?;
    remove_leftovers(&ready.folder);
    Ok(known.insert(ready).clone())
}

/// Dropping it kills the session's processes.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    tree: Option<CgroupFolder>,
    /// Of version 1, one for each controller.
    counting: Vec<CgroupFolder>,
    /// Files into which the child writes itself, open until then.
    procs: Vec<File>,
    /// The tree's cgroup has limits or was killed, so no other session gets it. At least Linux 6.18
    /// kills every child that clone3 starts in a cgroup that `cgroup.kill` has ended before.
    is_spent: bool,
    is_over: bool,
}

impl Cgroup {
    /// `None` if the session needs no cgroup and can have none. Without `by_clone` the child enters
    /// its tree by writing.
    pub(super) fn new(limits: &Limits, by_clone: bool) -> Result<Option<Cgroup>, SpawnError> {
        let fault = |why: String| SpawnError::new(Step::Limits, why);
        // From here on, Drop removes the cgroups if a step fails.
        let mut cgroup = Cgroup::default();
        cgroup.tree = tree().map_err(|error| of_system(&error))?;
        if let Some(tree) = cgroup.tree.as_ref().filter(|_| !by_clone) {
            cgroup.procs.push(tree.procs().map_err(|error| of_system(&error))?);
        }
        if let Some(most) = limits.processes {
            let home = counting(Controller::Pids).map_err(fault)?;
            cgroup.count(&home, &[("pids.max", most.to_string(), true)])?;
        }
        // Without the controller the limit holds for each process (RLIMIT_DATA).
        if let Some(most) = limits.memory
            && !without_cgroups()
            && let Ok(home) = counting(Controller::Memory)
        {
            let most = most.to_string();
            cgroup.count(&home, &memory(home.version, &most))?;
        }
        let has_any = cgroup.tree.is_some() || !cgroup.counting.is_empty();
        cgroup.is_over = !has_any;
        Ok(has_any.then_some(cgroup))
    }

    fn count(&mut self, home: &Home, values: &[(&str, String, bool)]) -> Result<(), SpawnError> {
        let folder = match (home.version, &self.tree) {
            (Version::Two, Some(tree)) => {
                self.is_spent = true;
                tree
            }
            (version, _) => {
                let folder = CgroupFolder::make(&home.folder, version).map_err(|error| of_system(&error))?;
                self.procs.push(folder.procs().map_err(|error| of_system(&error))?);
                self.counting.push(folder);
                &self.counting[self.counting.len() - 1]
            }
        };
        for (name, value, is_needed) in values {
            match folder.write(name, value) {
                Err(error) if *is_needed => return Err(of_system(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the session has no limit that needs it.
    pub(super) fn is_needless(&self) -> bool {
        self.counting.is_empty() && !self.is_spent
    }

    /// Another process has removed the tree's cgroup, so no session gets it or a free one again.
    pub(super) fn was_removed(&mut self) {
        self.is_spent = true;
        remove_free();
    }

    /// From now on sessions without limits have no cgroup.
    pub(super) fn do_without() {
        DOES_WITHOUT.store(true, Ordering::Relaxed);
    }

    /// The cgroup in which clone3 starts the child.
    pub(super) fn tree(&self) -> Option<c_int> {
        self.tree.as_ref().map(CgroupFolder::descriptor)
    }

    /// A process writes `0` to each of these descriptors to enter.
    pub(super) fn procs(&self) -> Vec<c_int> {
        self.procs.iter().map(AsRawFd::as_raw_fd).collect()
    }

    pub(super) fn close_procs(&mut self) {
        self.procs.clear();
    }

    /// Kills all processes, also those that left the session. What has not gone after two seconds is
    /// left to the list of stuck processes.
    ///
    /// Cancel safe: the next call goes on.
    pub(super) async fn end(&mut self) {
        let until = Instant::now() + GONE_WITHIN;
        let mut pause = Duration::from_millis(1);
        while self.is_populated() && Instant::now() < until {
            self.kill();
            if !self.is_populated() {
                break;
            }
            // The kernel takes a moment; a driver may hold a process for long.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        self.release(Remains::KilledTree);
    }

    /// The limits stay with the processes. The cgroups go when the last one has ended.
    pub(super) fn leave(&mut self) {
        self.release(Remains::LeftTree);
    }

    /// Gives the cgroups back if nothing is in them, or leaves them to the list.
    fn release(&mut self, kind: fn(Cgroup) -> Remains) {
        if self.is_over {
            return;
        }
        let mut rest = std::mem::take(self);
        self.is_over = true;
        if !rest.is_gone() {
            remains::keep(kind(rest));
        }
    }

    /// Gives cgroups without processes back to the pool, or removes them. True if all are gone.
    pub(super) fn is_gone(&mut self) -> bool {
        if let Some(tree) = self.tree.take_if(|tree| !tree.is_populated()) {
            let tree = if self.is_spent || tree.has_children() { Some(tree) } else { given_back(tree) };
            self.tree = tree.filter(|tree| !tree.is_removed());
        }
        self.counting.retain(|folder| !folder.is_removed());
        self.is_over = self.tree.is_none() && self.counting.is_empty();
        self.is_over
    }

    /// Every process of the session.
    pub(super) fn members(&self) -> Option<Members> {
        self.folders().next()?.members().ok()
    }

    fn folders(&self) -> impl Iterator<Item = &CgroupFolder> {
        self.tree.iter().chain(&self.counting)
    }

    fn is_populated(&self) -> bool {
        self.folders().any(CgroupFolder::is_populated)
    }

    fn kill(&mut self) {
        self.is_spent = true;
        self.folders().filter(|folder| folder.is_populated()).for_each(CgroupFolder::kill);
    }
}

/// An ordinary tree takes less than a millisecond.
const GONE_WITHIN: Duration = Duration::from_secs(2);

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !self.is_over {
            self.kill();
            self.release(Remains::KilledTree);
        }
    }
}

fn of_system(error: &io::Error) -> SpawnError {
    SpawnError::of_system(Step::Limits, error)
}

/// Files, values, and whether the limit needs them. Without the file for swap there is no swap.
fn memory(version: Version, most: &str) -> [(&'static str, String, bool); 3] {
    let file = |name, value: &str, is_needed| (name, value.to_owned(), is_needed);
    match version {
        Version::Two => [
            file("memory.max", most, true),
            file("memory.swap.max", "0", false),
            file("memory.oom.group", "1", false),
        ],
        // The limit with swap may not be below the one without.
        Version::One => [
            file("memory.limit_in_bytes", most, true),
            file("memory.memsw.limit_in_bytes", most, false),
            file("memory.swappiness", "0", false),
        ],
    }
}

/// A debug build can be told to do without.
fn without_cgroups() -> bool {
    cfg!(debug_assertions) && std::env::var_os("WININETD_TEST_NO_CGROUPS").is_some()
}
