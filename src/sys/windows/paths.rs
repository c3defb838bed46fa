//! Where files are by default on Windows.

use std::path::PathBuf;

use super::directories::{system_directory, windows_directory};

/// The configuration file: in the system's own Windows directory, also on a
/// terminal server where each user seems to have one.
pub fn default_config() -> PathBuf {
    windows_directory().join("wininetd.conf")
}

/// The directory that programs of a file start in.
pub fn default_directory() -> PathBuf {
    system_directory()
}

/// The control channel of a service: a pipe whose name only administrators can
/// take, or the open name where this process is none.
pub fn default_control(service: &str) -> Option<PathBuf> {
    let prefix = if super::process::is_privileged() { PROTECTED_PIPES } else { OPEN_PIPES };
    Some(PathBuf::from(format!("{prefix}{service}")))
}

/// Where the control channel of a service can be by default. A server of an
/// account that is no administrator cannot have the first of them.
pub fn default_controls(service: &str) -> Vec<PathBuf> {
    [PROTECTED_PIPES, OPEN_PIPES].map(|prefix| PathBuf::from(format!("{prefix}{service}"))).to_vec()
}

/// Only administrators can make a pipe below this.
const PROTECTED_PIPES: &str = r"\\.\pipe\ProtectedPrefix\Administrators\wininetd\";

/// Every account can make a pipe below this, so its owner is looked at.
pub(super) const OPEN_PIPES: &str = r"\\.\pipe\wininetd\";

/// The system's list of ports by name.
pub fn services() -> PathBuf {
    system_directory().join(r"drivers\etc\services")
}

/// Where TCP wrappers have their rules: there are none here.
pub const WRAPPER_RULES: &[&str] = &[];

/// A path without the `\\\\?\\` that the system puts in front of whole ones:
/// no tool that an administrator is told to run takes it.
pub fn plain(path: PathBuf) -> PathBuf {
    let text = path.to_string_lossy();
    match text.strip_prefix(r"\\?\") {
        Some(rest) if rest.starts_with(r"UNC\") => PathBuf::from(format!(r"\\{}", &rest[4..])),
        Some(rest) => PathBuf::from(rest),
        None => path,
    }
}

/// An example line for somebody who has no file yet.
pub const EXAMPLE_LINE: &str = r"7777  none  c:\windows\system32\whoami.exe";

/// The same of the native form.
pub const EXAMPLE_TABLE: &str =
    r#"service.hello = { listen = 7777, user = "LocalService", command = "whoami" }"#;
