//! Opens files in places where another account may have put something else.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Opens a regular file to read. Refuses a pipe, which could block forever, and a device, which may
/// act when opened.
pub fn open_regular(path: &Path) -> Result<File> {
    regular(&std::fs::metadata(path)?)?;
    let file = without_waiting().open(path)?;
    // Another file may be there by now.
    regular(&file.metadata()?)?;
    Ok(file)
}

/// Opens or creates a regular file to append. On Unix its mode is 0640. Refuses links, pipes and
/// devices, because another account may have put them there.
pub fn append_regular(path: &Path) -> Result<File> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => unlinked(&found)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = appending().open(path)?;
    // Another file may be there by now.
    unlinked(&file.metadata()?)?;
    Ok(file)
}

/// Accepts a regular file only, not a link to one.
pub fn unlinked(found: &Metadata) -> Result<()> {
    if is_link(found) {
        return Err(Error::new(ErrorKind::InvalidInput, "this is a link, and links are not followed here"));
    }
    regular(found)
}

/// Whether the error means a directory, a link or a special file.
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

/// O_NONBLOCK has no effect on a regular file.
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

/// Mount points and files of filter drivers are reparse points, too.
#[cfg(windows)]
fn is_link(found: &Metadata) -> bool {
    use std::os::windows::fs::MetadataExt;

    use windows_sys::Win32::Storage::FileSystem::FILE_ATTRIBUTE_REPARSE_POINT;

    found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0
}

/// Helpers for tests of other modules. False where the test account cannot do it.
#[cfg(test)]
pub mod testing {
    use std::path::Path;

    #[cfg(unix)]
    pub fn link(target: &Path, path: &Path) -> bool {
        std::os::unix::fs::symlink(target, path).is_ok()
    }

    /// Lets every account create files in a folder, or only its owner.
    #[cfg(unix)]
    pub fn share(folder: &Path, shared: bool) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let mode = if shared { 0o1777 } else { 0o700 };
        std::fs::set_permissions(folder, PermissionsExt::from_mode(mode)).is_ok()
    }

    #[cfg(windows)]
    pub fn link(_target: &Path, _path: &Path) -> bool {
        false
    }

    #[cfg(windows)]
    pub fn share(_folder: &Path, _shared: bool) -> bool {
        false
    }
}
