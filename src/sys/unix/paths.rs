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

/// The control channel of a service: each has a folder of its own, as a service
/// manager that removes a service's folder at its stop wants it. None for a
/// user whose session has no folder for such files.
pub fn default_control(service: &str) -> Option<PathBuf> {
    let folder = if super::process::is_privileged() {
        PathBuf::from(if cfg!(target_os = "linux") { "/run" } else { "/var/run" })
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute())?
    };
    let name = if service == "wininetd" { "wininetd".to_owned() } else { format!("wininetd-{service}") };
    Some(folder.join(name).join("control.sock"))
}

/// A path without what the system puts in front of whole ones.
pub fn plain(path: PathBuf) -> PathBuf {
    path
}

/// An example line for somebody who has no file yet.
pub const EXAMPLE_LINE: &str = "7777  nobody:  date";
