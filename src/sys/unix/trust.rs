//! Who can change a file, by owner and mode. A folder counts with all above it:
//! who can rename one of them chooses what lies at the path.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::{Other, Others};
use super::process::is_privileged;

/// Who can change the content of an opened file.
pub fn file_writers(file: &File) -> io::Result<Others> {
    Ok(writers(&file.metadata()?))
}

/// Who can change what lies in this folder or at its path.
pub fn folder_writers(folder: &Path) -> io::Result<Others> {
    let mut found = Others::default();
    for folder in std::fs::canonicalize(folder)?.ancestors() {
        let folder = std::fs::metadata(folder)?;
        let others = writers(&folder);
        // In a sticky folder each may rename only their own.
        let sticky = folder.mode() & 0o1000 != 0;
        for other in others.anyone {
            let owner = other.id == folder.uid().to_string();
            if (!sticky || owner) && !found.anyone.contains(&other) {
                found.anyone.push(other);
            }
        }
    }
    Ok(found)
}

/// Who can read an opened file. Passwords are not used here, so nobody is
/// warned of readers.
pub fn file_readers(_file: &File) -> io::Result<Others> {
    Ok(Others::default())
}

/// The command that takes the rights of these away.
pub fn mend(path: &Path, _others: &Others) -> String {
    let path = path.display();
    if is_privileged() {
        format!("chown root '{path}' && chmod go-w '{path}'")
    } else {
        format!("chmod o-w '{path}'")
    }
}

fn writers(found: &Metadata) -> Others {
    // SAFETY: no preconditions.
    let own = unsafe { libc::geteuid() };
    let mut anyone = Vec::new();
    if found.uid() != 0 && found.uid() != own {
        anyone.push(Other { name: format!("user {}", found.uid()), id: found.uid().to_string() });
    }
    // A user's own group is theirs; root's files may have a group of strangers.
    if is_privileged() && found.mode() & 0o020 != 0 && found.gid() != 0 {
        anyone.push(Other { name: format!("group {}", found.gid()), id: format!("g{}", found.gid()) });
    }
    if found.mode() & 0o002 != 0 {
        anyone.push(Other { name: "everybody".to_owned(), id: "o".to_owned() });
    }
    Others { anyone, some: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_everybody_can_write_is_seen_in_the_file_and_above_it() {
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
        set(&path, 0o646);
        assert_eq!(file_writers(&file).unwrap().names(), "everybody");
        set(folder.path(), 0o777);
        assert_eq!(folder_writers(&inner).unwrap().names(), "everybody");
        set(folder.path(), 0o1777);
        assert!(folder_writers(&inner).unwrap().is_empty());
    }
}
