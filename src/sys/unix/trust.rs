//! Who can change a file, by owner and mode. A folder counts with all above it:
//! who can rename one of them chooses what lies at the path.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{Other, Others};
use super::process::is_privileged;

/// Who can change the content of an opened file.
pub fn file_writers(file: &File) -> io::Result<Others> {
    let listed = || has_access_list(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
    Ok(writers(&file.metadata()?, listed))
}

/// Who can change what lies in this folder or at its path: the folders, from
/// the inmost, that others can change.
pub fn folder_writers(folder: &Path) -> io::Result<Vec<(PathBuf, Others)>> {
    changeable(folder, false)
}

/// As [`folder_writers`], and who can be the first to make a file in the folder:
/// everybody can in a sticky one such as /tmp.
pub fn folder_creators(folder: &Path) -> io::Result<Vec<(PathBuf, Others)>> {
    changeable(folder, true)
}

/// Whether accounts share this folder by design, so that it must stay as it is.
pub fn is_shared(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|found| found.mode() & 0o1000 != 0)
}

fn changeable(inmost: &Path, new_files_count: bool) -> io::Result<Vec<(PathBuf, Others)>> {
    let mut found = Vec::new();
    for folder in inmost.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        let looked = std::fs::metadata(folder)?;
        let mut others = writers(&looked, || has_access_list(folder));
        // In a sticky folder each may rename only their own.
        if looked.mode() & 0o1000 != 0 && !(new_files_count && folder == inmost) {
            others.anyone.retain(|other| other.id == looked.uid().to_string());
        }
        if !others.is_empty() {
            found.push((folder.to_owned(), others));
        }
    }
    Ok(found)
}

/// Who can read an opened file. A group that can was given that right: keys
/// have one for the programs that need them.
pub fn file_readers(file: &File) -> io::Result<Others> {
    let mut others = Others::default();
    if file.metadata()?.mode() & 0o004 != 0 {
        others.anyone.push(Other { name: "everybody".to_owned(), id: "o".to_owned() });
    }
    Ok(others)
}

/// The command that takes the right to read away from all others.
pub fn mend_readers(path: &Path, _others: &Others) -> String {
    format!("chmod o-r '{}'", path.display())
}

/// The command that takes the right to write away from these.
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
    // A user's own group is theirs; root's files may have a group of strangers.
    // With an access list the group's bits are those of all whom it names.
    let listed = found.mode() & 0o020 != 0 && has_access_list();
    if listed {
        anyone.push(Other { name: "whoever its access list names".to_owned(), id: "acl".to_owned() });
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
    // SAFETY: both texts end with zero; with a length of 0 nothing is written.
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
    fn what_everybody_can_write_or_read_is_seen_in_the_file_and_above_it() {
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
