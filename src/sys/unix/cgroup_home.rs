//! Finds the cgroup below which this process may create cgroups, for whole trees and for limits.
//!
//! Version 2: our own cgroup, if we may write to it: as root, or because systemd delegated it
//! (Delegate=). A cgroup that has processes cannot enable controllers for others below it, so the
//! server moves into a child cgroup first.
//! Version 1: our own cgroup in the hierarchy of the controller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) folder: PathBuf,
    pub(super) version: Version,
    /// The server is in it, and must leave before the cgroups below can count processes.
    must_leave: bool,
}

/// The child cgroup that the server moves into.
const OWN: &str = "wininetd";

const CURE: &str =
    "delegate cgroups to the service (Delegate=pids memory in its unit), or remove `processes`";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Pids,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }
}

impl Home {
    /// The cgroup of version 2 below which every session can have one, which needs no controller.
    pub(super) fn of_trees() -> Option<PathBuf> {
        let read = |path: &str| fs::read_to_string(path).ok();
        let own = folder(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?, None)?;
        let above = own.parent().filter(|above| own.ends_with(OWN) && is_empty(above));
        let home = above.unwrap_or(&own);
        // The kernel asks for both before it moves a process between cgroups below this one.
        let may = writable(home).and_then(|()| writable(&home.join("cgroup.procs")));
        may.is_ok().then(|| home.to_owned())
    }

    /// The error says why there is no such cgroup and what to do. Changes nothing.
    pub(super) fn find(controller: Controller) -> Result<Home, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}; {CURE}"));
        let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        let second =
            folder(&own, &mounts, None).filter(|folder| controls(folder, "cgroup.controllers", controller));
        let home = match second {
            Some(folder) => second_home(folder, controller)?,
            None => match folder(&own, &mounts, Some(controller)) {
                Some(folder) => Home { folder, version: Version::One, must_leave: false },
                None => return Err(format!("this server has no cgroup that counts processes; {CURE}")),
            },
        };
        match writable(&home.folder) {
            Ok(()) => Ok(home),
            Err(error) => Err(format!("cgroups in {}: {error}; {CURE}", home.folder.display())),
        }
    }

    /// Enables counting in the cgroups below.
    pub(super) fn made_ready(self, controller: Controller) -> Result<Home, String> {
        let Home { folder, version, must_leave } = self;
        if must_leave {
            leave(&folder)?;
        }
        let fault = |what: &Path, error: io::Error| format!("{}: {error}; {CURE}", what.display());
        let control = folder.join("cgroup.subtree_control");
        if version == Version::Two && !controls(&folder, "cgroup.subtree_control", controller) {
            let enable = format!("+{}", controller.name());
            // A running program may have forked between the listing and the move.
            let mut result = fs::write(&control, &enable);
            for _ in 0..ROUNDS {
                let busy = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy);
                if !busy || !must_leave {
                    break;
                }
                leave(&folder)?;
                result = fs::write(&control, &enable);
            }
            result.map_err(|error| fault(&control, error))?;
        }
        Ok(Home { folder, version, must_leave: false })
    }
}

/// Tries to move programs that fork meanwhile.
const ROUNDS: usize = 100;

/// Moves the server and its running programs into the child cgroup `OWN`.
fn leave(folder: &Path) -> Result<(), String> {
    let fault = |what: &Path, error: io::Error| format!("{}: {error}; {CURE}", what.display());
    let own = folder.join(OWN);
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fault(&own, error)),
        _ => {}
    }
    let cgroup_procs = own.join("cgroup.procs");
    for process in processes(folder).map_err(|error| fault(folder, error))? {
        match fs::write(&cgroup_procs, process.to_string()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            result => result.map_err(|error| fault(&cgroup_procs, error))?,
        }
    }
    Ok(())
}

/// The home in version 2: our own cgroup, or its parent if this process is in `OWN` already.
fn second_home(own: PathBuf, controller: Controller) -> Result<Home, String> {
    if own.ends_with(OWN)
        && let Some(above) = own.parent()
        && controls(above, "cgroup.controllers", controller)
        && is_empty(above)
    {
        return Ok(Home { folder: above.to_owned(), version: Version::Two, must_leave: false });
    }
    // Only the system's root cgroup has no cgroup.type. It may have processes and controllers.
    if !own.join("cgroup.type").exists() {
        return Ok(Home { folder: own, version: Version::Two, must_leave: false });
    }
    let inside = processes(&own).map_err(|error| format!("{}: {error}; {CURE}", own.display()))?;
    // Our descendants move with us. Processes of others must stay.
    let own_pid = std::process::id();
    let descendants = libc::pid_t::try_from(own_pid).map(|pid| super::orphans::with_descendants(vec![pid]));
    let descendants = descendants.unwrap_or_default();
    let is_ours = |&pid: &u32| {
        pid == own_pid
            || super::init::stands_for(pid)
            || libc::pid_t::try_from(pid).is_ok_and(|pid| descendants.contains(&pid))
    };
    if let Some(other) = inside.iter().find(|pid| !is_ours(pid)) {
        return Err(format!(
            "process {other} is in the server's cgroup {}, which must hold the server alone; {CURE}",
            own.display()
        ));
    }
    Ok(Home { folder: own, version: Version::Two, must_leave: true })
}

fn controls(folder: &Path, file: &str, controller: Controller) -> bool {
    fs::read_to_string(folder.join(file))
        .is_ok_and(|list| list.split_ascii_whitespace().any(|name| name == controller.name()))
}

fn is_empty(folder: &Path) -> bool {
    processes(folder).is_ok_and(|processes| processes.is_empty())
}

fn processes(folder: &Path) -> io::Result<Vec<u32>> {
    let list = fs::read_to_string(folder.join("cgroup.procs"))?;
    Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Checks with the effective ids; a read-only mount fails too.
fn writable(folder: &Path) -> io::Result<()> {
    let path = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(folder.as_os_str()))?;
    // SAFETY: the path is a C string.
    super::check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) })?;
    Ok(())
}

/// Our own cgroup as a folder: that of version 2, or that of a controller of version 1. `own` is the
/// text of /proc/self/cgroup, `mounts` that of /proc/self/mountinfo.
fn folder(own: &str, mounts: &str, first: Option<Controller>) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = match first {
            Some(first) => controllers.split(',').any(|name| name == first.name()),
            None => controllers.is_empty() && line.starts_with("0::"),
        };
        is_it.then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (root, point) = (unescaped(before.next()?), unescaped(before.next()?));
        let is_it = match (first, after.next()?) {
            (None, "cgroup2") => true,
            (Some(first), "cgroup") => after.next_back()?.split(',').any(|option| option == first.name()),
            _ => false,
        };
        // A mount may show only a subtree, or that of another container.
        let below = Path::new(path).strip_prefix(&root).ok().filter(|_| is_it)?;
        let folder =
            if below.as_os_str().is_empty() { PathBuf::from(point) } else { Path::new(&point).join(below) };
        Some(folder)
    })
}

/// mountinfo writes blanks and backslashes in octal, see proc(5).
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (written, meant)| text.replace(written, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime shared:1 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn our_cgroup_is_found_in_both_versions() {
        let own = "8:pids:/a/b\n1:cpu,cpuacct:/\n0::/system.slice/wininetd.service\n";
        assert_eq!(folder(own, MOUNTS, Some(Controller::Pids)), Some("/sys/fs/cgroup/pids/a/b".into()));
        assert_eq!(
            folder(own, MOUNTS, None),
            Some("/sys/fs/cgroup/unified/system.slice/wininetd.service".into())
        );
    }

    #[test]
    fn a_mount_of_a_part_is_looked_through() {
        let mounts = "39 31 0:36 /docker/x /cgroup\\040of\\040it ro - cgroup2 cgroup rw\n";
        assert_eq!(folder("0::/docker/x/y\n", mounts, None), Some("/cgroup of it/y".into()));
        assert_eq!(folder("0::/docker/x\n", mounts, None), Some("/cgroup of it".into()));
        assert_eq!(folder("0::/elsewhere\n", mounts, None), None);
        assert_eq!(folder("0::/docker/x\n", mounts, Some(Controller::Pids)), None);
    }

    fn delegated(processes: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cgroup.type", "domain\n"),
            ("cgroup.controllers", "memory pids\n"),
            ("cgroup.subtree_control", "memory\n"),
            ("cgroup.procs", processes),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        folder
    }

    #[test]
    fn alone_in_a_cgroup_we_leave_it_to_the_sessions() {
        let own = std::process::id();
        let folder = delegated(&format!("{own}\n"));
        let home = second_home(folder.path().to_owned(), Controller::Pids).unwrap();
        assert_eq!((&*home.folder, home.must_leave), (folder.path(), true));
        let home = home.made_ready(Controller::Pids).unwrap();
        let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(read("wininetd/cgroup.procs"), own.to_string());
        assert_eq!(read("cgroup.subtree_control"), "+pids");
        assert!(!home.must_leave);
    }

    #[test]
    fn server_already_in_its_own_cgroup_does_not_move() {
        let folder = delegated("");
        let own = folder.path().join(OWN);
        fs::create_dir(&own).unwrap();
        let home = second_home(own, Controller::Pids).unwrap();
        assert_eq!((&*home.folder, home.must_leave), (folder.path(), false));
    }

    #[test]
    fn a_cgroup_with_others_in_it_is_not_ours() {
        let folder = delegated(&format!("{}\n4294967295\n", std::process::id()));
        let why = second_home(folder.path().to_owned(), Controller::Pids).unwrap_err();
        assert!(why.contains("process 4294967295 is in") && why.contains("Delegate="), "{why}");
    }
}
