//! Who can change a file, by owner and mode. All folders above it count: a user who can rename one
//! chooses what the path names.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{Other, Others};
use super::process::is_privileged;

pub fn file_writers(file: &File) -> io::Result<Others> {
    let listed = || has_access_list(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
    Ok(writers(&file.metadata()?, listed))
}

/// The folders on this path that others can change, innermost first.
pub fn folder_writers(folder: &Path) -> io::Result<Vec<(PathBuf, Others)>> {
    changeable(folder, false)
}

/// As [`folder_writers`], plus users who can create a file: everybody in a sticky folder.
pub fn folder_creators(folder: &Path) -> io::Result<Vec<(PathBuf, Others)>> {
    changeable(folder, true)
}

/// Whether the folder is sticky: accounts share it by design.
pub fn is_shared(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|found| found.mode() & 0o1000 != 0)
}

fn changeable(inmost: &Path, new_files_count: bool) -> io::Result<Vec<(PathBuf, Others)>> {
    let mut found = Vec::new();
    for folder in inmost.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        let looked = std::fs::metadata(folder)?;
        let mut others = writers(&looked, || has_access_list(folder));
        // In a sticky folder only its owner can rename files of others.
        if looked.mode() & 0o1000 != 0 && !(new_files_count && folder == inmost) {
            others.anyone.retain(|other| other.id == looked.uid().to_string());
        }
        if !others.is_empty() {
            found.push((folder.to_owned(), others));
        }
    }
    Ok(found)
}

/// The file's group counts as trusted.
pub fn file_readers(file: &File) -> io::Result<Others> {
    let mut others = Others::default();
    if file.metadata()?.mode() & 0o004 != 0 {
        others.anyone.push(Other { name: "everybody".to_owned(), id: "o".to_owned() });
    }
    Ok(others)
}

pub fn mend_readers(path: &Path, _others: &Others) -> String {
    format!("chmod o-r '{}'", path.display())
}

pub fn mend_writers(path: &Path, _others: &Others) -> String {
    let path = path.display();
    if is_privileged() {
        format!("chown root '{path}' && chmod go-w '{path}'")
    } else {
        format!("chmod o-w '{path}'")
    }
}

fn writers(found: &Metadata, has_access_list: impl Fn() -> bool) -> Others {
    // SAFETY: no preconditions.
    let own = unsafe { libc::geteuid() };
    let mut anyone = Vec::new();
    if found.uid() != 0 && found.uid() != own {
        anyone.push(Other { name: format!("user {}", found.uid()), id: found.uid().to_string() });
    }
    // A user's own group is trusted, the group of root's file is not. With an access list the group
    // bits are its mask, see acl(5).
    let listed = found.mode() & 0o020 != 0 && has_access_list();
    if listed {
        anyone.push(Other { name: "users in its access list".to_owned(), id: "acl".to_owned() });
    } else if is_privileged() && found.mode() & 0o020 != 0 && found.gid() != 0 {
        anyone.push(Other { name: format!("group {}", found.gid()), id: format!("g{}", found.gid()) });
    }
    if found.mode() & 0o002 != 0 {
        anyone.push(Other { name: "everybody".to_owned(), id: "o".to_owned() });
    }
    Others { anyone, some: Vec::new() }
}

#[cfg(target_os = "linux")]
fn has_access_list(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    let name = c"system.posix_acl_access".as_ptr();
    // SAFETY: both strings end in NUL; with a length of 0 nothing is written.
    unsafe { libc::getxattr(path.as_ptr(), name, std::ptr::null_mut(), 0) > 0 }
}

#[cfg(not(target_os = "linux"))]
fn has_access_list(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn world_access_is_found_on_the_file_and_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let path = inner.join("file");
        std::fs::write(&path, "").unwrap();
        let set =
            |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let file = File::open(&path).unwrap();
        set(&path, 0o644);
        assert!(file_writers(&file).unwrap().is_empty() && folder_writers(&inner).unwrap().is_empty());
        assert_eq!(file_readers(&file).unwrap().names(), "everybody");
        set(&path, 0o640);
        assert!(file_readers(&file).unwrap().is_empty());
        set(&path, 0o646);
        assert_eq!(file_writers(&file).unwrap().names(), "everybody");
        set(folder.path(), 0o777);
        let above = folder_writers(&inner).unwrap();
        assert_eq!((above[0].0.as_path(), &*above[0].1.names()), (folder.path(), "everybody"));
        set(folder.path(), 0o1777);
        assert!(folder_writers(&inner).unwrap().is_empty());
        assert!(folder_creators(&inner).unwrap().is_empty());
        assert_eq!(folder_creators(folder.path()).unwrap()[0].1.names(), "everybody");
    }
}
