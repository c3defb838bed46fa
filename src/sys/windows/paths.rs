//! Default paths on Windows.

use std::path::PathBuf;

use super::directories::{system_directory, windows_directory};

/// The default configuration file. The system's Windows directory, because a terminal server
/// shows each user a private one.
pub fn default_config() -> PathBuf {
    windows_directory().join("wininetd.conf")
}

pub fn default_directory() -> PathBuf {
    system_directory()
}

/// The control channel of a service: a protected name if this process may create it.
pub fn default_control(service: &str) -> Option<PathBuf> {
    let prefix = if super::process::is_privileged() { PROTECTED_PIPES } else { OPEN_PIPES };
    Some(PathBuf::from(format!("{prefix}{service}")))
}

/// Both default names. Only a server with administrator rights can create the first.
pub fn default_controls(service: &str) -> Vec<PathBuf> {
    [PROTECTED_PIPES, OPEN_PIPES].map(|prefix| PathBuf::from(format!("{prefix}{service}"))).to_vec()
}

/// Only administrators can create a pipe below this.
const PROTECTED_PIPES: &str = r"\\.\pipe\ProtectedPrefix\Administrators\wininetd\";

/// Every account can create a pipe below this, so clients check the owner.
pub(super) const OPEN_PIPES: &str = r"\\.\pipe\wininetd\";

pub fn services() -> PathBuf {
    system_directory().join(r"drivers\etc\services")
}

pub const WRAPPER_RULES: &[&str] = &[];

/// Removes the prefix `\\?\` of canonical paths, which the administrator's tools reject.
pub fn plain(path: PathBuf) -> PathBuf {
    let text = path.to_string_lossy();
    match text.strip_prefix(r"\\?\") {
        Some(rest) if rest.starts_with(r"UNC\") => PathBuf::from(format!(r"\\{}", &rest[4..])),
        Some(rest) => PathBuf::from(rest),
        None => path,
    }
}

pub const EXAMPLE_LINE: &str = r"7777  none  c:\windows\system32\whoami.exe";

pub const EXAMPLE_TABLE: &str =
    r#"service.hello = { listen = 7777, user = "LocalService", command = "whoami" }"#;
