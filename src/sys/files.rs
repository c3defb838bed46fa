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

#[cfg(windows)]
fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}
