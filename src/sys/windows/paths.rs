//! Where files are by default on Windows.

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;

use windows_sys::Win32::System::SystemInformation::{GetSystemDirectoryW, GetSystemWindowsDirectoryW};

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

pub(super) fn system_directory() -> PathBuf {
    directory(GetSystemDirectoryW).unwrap_or_else(|| PathBuf::from(r"C:\Windows\System32"))
}

pub(super) fn windows_directory() -> PathBuf {
    directory(GetSystemWindowsDirectoryW).unwrap_or_else(|| PathBuf::from(r"C:\Windows"))
}

fn directory(ask: unsafe extern "system" fn(*mut u16, u32) -> u32) -> Option<PathBuf> {
    let mut buffer = [0u16; 1024];
    // SAFETY: the buffer has the length that is given; both functions of this
    // type write a path of at most that length and return its length.
    let length = unsafe { ask(buffer.as_mut_ptr(), 1024) };
    let length = usize::try_from(length).ok().filter(|&length| length > 0 && length < buffer.len())?;
    Some(PathBuf::from(OsString::from_wide(&buffer[..length])))
}
