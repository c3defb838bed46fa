//! One cgroup: making it, killing what is in it, and removing it.

use std::collections::HashSet;
use std::ffi::{CString, OsStr, c_int};
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::fault::{self, Says};
use super::cgroup_home::Version;
use super::pidfd::Pidfd;

const PREFIX: &str = "wininetd-";

#[derive(Debug)]
pub(super) struct CgroupFolder {
    path: PathBuf,
    folder: File,
    /// `cgroup.events` of version 2, which says whether a process is in it.
    events: Option<File>,
}

impl CgroupFolder {
    pub(super) fn make(home: &Path, version: Version) -> io::Result<CgroupFolder> {
        fault::point("cgroup", Says::Space)?;
        let path = make_folder(home)?;
        CgroupFolder::open(&path, version).inspect_err(|_| drop(fs::remove_dir(&path)))
    }

    fn open(path: &Path, version: Version) -> io::Result<CgroupFolder> {
        let found = CgroupFolder { path: path.to_owned(), folder: File::open(path)?, events: None };
        if version == Version::One {
            return Ok(found);
        }
        // A cgroup below one of type `threaded` cannot have processes.
        if found.read("cgroup.type")?.trim_end() != "domain" {
            return Err(io::ErrorKind::Unsupported.into());
        }
        found.write("cgroup.max.descendants", "0")?;
        let events = Some(found.open_file("cgroup.events", libc::O_RDONLY)?);
        Ok(CgroupFolder { events, ..found })
    }

    /// For clone3, which starts a child in this cgroup.
    pub(super) fn descriptor(&self) -> c_int {
        self.folder.as_raw_fd()
    }

    /// A process writes `0` to this file to enter.
    pub(super) fn procs(&self) -> io::Result<File> {
        self.open_file("cgroup.procs", libc::O_WRONLY)
    }

    pub(super) fn write(&self, name: &str, value: &str) -> io::Result<()> {
        self.open_file(name, libc::O_WRONLY)?.write_all(value.as_bytes())
    }

    /// Whether a process is in it. Zombies do not count.
    pub(super) fn is_populated(&self) -> bool {
        let Some(events) = &self.events else {
            return self.members().and_then(|members| members.list()).is_ok_and(|list| !list.is_empty());
        };
        let mut text = [0; 64];
        let length = match events.read_at(&mut text, 0) {
            Ok(length) => length,
            // It was removed, which the kernel refuses while a process is in it.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return false,
            Err(_) => return true,
        };
        !text[..length].split(|&byte| byte == b'\n').any(|line| line == b"populated 0")
    }

    /// Whether a program has made cgroups below it.
    pub(super) fn has_children(&self) -> bool {
        // Its own entry, `.`, and the `..` of each child.
        self.folder.metadata().is_ok_and(|found| found.nlink() > 2)
    }

    /// Kills every process in it.
    pub(super) fn kill(&self) {
        // Version 2 since Linux 5.14 kills all at once, so no fork escapes.
        let at_once = self.events.is_some() && self.write("cgroup.kill", "1").is_ok();
        if !at_once && let Ok(members) = self.members() {
            members.signal(libc::SIGKILL, |_| true);
        }
    }

    /// Its processes, for another thread.
    pub(super) fn members(&self) -> io::Result<Members> {
        self.open_file("cgroup.procs", libc::O_RDONLY).map(Members)
    }

    /// False if it still has processes or children.
    pub(super) fn is_removed(&self) -> bool {
        match fs::remove_dir(&self.path) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    fn read(&self, name: &str) -> io::Result<String> {
        io::read_to_string(self.open_file(name, libc::O_RDONLY)?)
    }

    fn open_file(&self, name: &str, how: c_int) -> io::Result<File> {
        let name = CString::new(name)?;
        // SAFETY: the name is a C string; the descriptor that comes back is new and ours.
        unsafe {
            let opened = libc::openat(self.folder.as_raw_fd(), name.as_ptr(), how | libc::O_CLOEXEC);
            Ok(File::from(OwnedFd::from_raw_fd(super::check(opened)?)))
        }
    }
}

/// The processes of a cgroup.
#[derive(Debug)]
pub(super) struct Members(File);

impl Members {
    fn list(&self) -> io::Result<Vec<libc::pid_t>> {
        let mut file = &self.0;
        file.rewind()?;
        let list = io::read_to_string(file)?;
        Ok(list.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 1).collect())
    }

    /// Signals those processes that are meant.
    pub(super) fn signal(&self, signal: c_int, is_meant: impl Fn(libc::pid_t) -> bool) {
        let listed = self.list().unwrap_or_default();
        let opened: Vec<_> =
            listed.into_iter().filter_map(|pid| Some((pid, Pidfd::open(pid).ok()?))).collect();
        // A number may have changed hands before its descriptor was opened. If it is still listed,
        // the descriptor is that of a process in this cgroup.
        let still: HashSet<_> = self.list().unwrap_or_default().into_iter().collect();
        for (_, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid) && is_meant(*pid)) {
            pidfd.signal(signal);
        }
    }
}

fn make_folder(home: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = home.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            // A previous server with our number left it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => return Ok(path),
        }
    }
}

/// Removes empty cgroups of servers that no longer run. Those of a running server stay.
pub(super) fn remove_leftovers(home: &Path) {
    let server = |name: &OsStr| -> Option<u32> {
        name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
    };
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if server(&entry.file_name()).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
