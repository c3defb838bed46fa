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

/// The folder of a service for what lives as long as it does, by its name.
pub fn runtime_folder(service: &str) -> String {
    if service == "wininetd" { "wininetd".to_owned() } else { format!("wininetd-{service}") }
}

/// The control channel of a service: where its manager has made a folder for it
/// there, else each has a folder of its own, as a service
/// manager that removes a service's folder at its stop wants it. None for a
/// user whose session has no folder for such files.
pub fn default_control(service: &str) -> Option<PathBuf> {
    let made = std::env::var("RUNTIME_DIRECTORY").ok();
    if let Some(folder) = made.as_deref().and_then(|folders| folders.split(':').next())
        && folder.starts_with('/')
    {
        return Some(PathBuf::from(folder).join("control.sock"));
    }
    let folder = if super::process::is_privileged() {
        PathBuf::from(if cfg!(target_os = "linux") { "/run" } else { "/var/run" })
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute())?
    };
    Some(folder.join(runtime_folder(service)).join("control.sock"))
}

/// Where the control channel of a service can be by default: at one path here.
pub fn default_controls(service: &str) -> Vec<PathBuf> {
    default_control(service).into_iter().collect()
}

/// The system's list of ports by name.
pub fn services() -> PathBuf {
    PathBuf::from("/etc/services")
}

/// Where TCP wrappers have their rules.
pub const WRAPPER_RULES: &[&str] = &["/etc/hosts.allow", "/etc/hosts.deny"];

/// A path without what the system puts in front of whole ones.
pub fn plain(path: PathBuf) -> PathBuf {
    path
}

/// An example line for somebody who has no file yet.
pub const EXAMPLE_LINE: &str = "7777  nobody:  date";

/// The same of the native form.
pub const EXAMPLE_TABLE: &str = r#"service.date = { listen = 7777, user = "nobody", command = "date" }"#;
