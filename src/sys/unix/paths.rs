//! Where files are by default on Unix.

use std::path::PathBuf;

/// The configuration file.
pub fn default_config() -> PathBuf {
    PathBuf::from("/etc/wininetd.conf")
}

/// The directory that programs of a file start in.
pub fn default_directory() -> PathBuf {
    PathBuf::from("/")
}

/// A path without what the system puts in front of whole ones.
pub fn plain(path: PathBuf) -> PathBuf {
    path
}

/// An example line for somebody who has no file yet.
pub const EXAMPLE_LINE: &str = "7777  nobody:  date";
