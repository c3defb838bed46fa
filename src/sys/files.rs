//! Opening a file that somebody else may have put in its place.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Opens a file to read it, if it is one. A pipe would be waited for without end,
/// and a device may do something when it is opened.
pub fn open_regular(path: &Path) -> Result<File> {
    regular(&std::fs::metadata(path)?)?;
    let file = without_waiting().open(path)?;
    // Another may lie there by now.
    regular(&file.metadata()?)?;
    Ok(file)
}

/// Opens a file to write behind what is there, or makes one that its owner and group can
/// read (on Unix). A link is not followed, and a pipe or a device is not opened: another
/// account may have put it there.
pub fn append_regular(path: &Path) -> Result<File> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => unlinked(&found)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = appending().open(path)?;
    // Another may lie there by now.
    unlinked(&file.metadata()?)?;
    Ok(file)
}

/// A regular file itself, not a link to one.
pub fn unlinked(found: &Metadata) -> Result<()> {
    if is_link(found) {
        return Err(Error::new(ErrorKind::InvalidInput, "this is a link, and no link is followed here"));
    }
    regular(found)
}

/// Whether an error says that what was to be opened is no file.
pub fn is_no_file(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::InvalidInput)
}

fn regular(found: &Metadata) -> Result<()> {
    if found.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "this is a directory"));
    }
    if !found.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "this is not a regular file"));
    }
    Ok(())
}

/// For a file itself it changes nothing.
#[cfg(unix)]
fn without_waiting() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

#[cfg(unix)]
fn appending() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o640);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

#[cfg(unix)]
fn is_link(found: &Metadata) -> bool {
    found.is_symlink()
}

#[cfg(windows)]
fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

#[cfg(windows)]
fn appending() -> OpenOptions {
    use std::os::windows::fs::OpenOptionsExt;

    use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OPEN_REPARSE_POINT;

    let mut options = OpenOptions::new();
    options.create(true).append(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    options
}

/// A folder or file that leads elsewhere, or that a filter driver keeps, is a reparse point.
#[cfg(windows)]
fn is_link(found: &Metadata) -> bool {
    use std::os::windows::fs::MetadataExt;

    use windows_sys::Win32::Storage::FileSystem::FILE_ATTRIBUTE_REPARSE_POINT;

    found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0
}

/// For tests of other folders. Where tests cannot make these, the result is false.
#[cfg(test)]
pub mod testing {
    use std::path::Path;

    /// Makes a link.
    #[cfg(unix)]
    pub fn link(target: &Path, path: &Path) -> bool {
        std::os::unix::fs::symlink(target, path).is_ok()
    }

    /// Lets every account make files in a folder, or only its owner.
    #[cfg(unix)]
    pub fn share(folder: &Path, shared: bool) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let mode = if shared { 0o1777 } else { 0o700 };
        std::fs::set_permissions(folder, PermissionsExt::from_mode(mode)).is_ok()
    }

    /// Makes no link: that takes a right that tests may lack.
    #[cfg(windows)]
    pub fn link(_target: &Path, _path: &Path) -> bool {
        false
    }

    /// Changes nothing: what accounts may do stands in an access control list.
    #[cfg(windows)]
    pub fn share(_folder: &Path, _shared: bool) -> bool {
        false
    }
}
