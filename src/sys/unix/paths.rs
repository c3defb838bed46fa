//! Default paths on Unix.

use std::path::PathBuf;

pub fn default_config() -> PathBuf {
    PathBuf::from("/etc/wininetd.conf")
}

pub fn default_directory() -> PathBuf {
    PathBuf::from("/")
}

pub fn runtime_folder(service: &str) -> String {
    if service == "wininetd" { "wininetd".to_owned() } else { format!("wininetd-{service}") }
}

/// A service has its own folder, because systemd removes it at the service's stop. `None` for a
/// user without XDG_RUNTIME_DIR.
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

pub fn default_controls(service: &str) -> Vec<PathBuf> {
    default_control(service).into_iter().collect()
}

pub fn services() -> PathBuf {
    PathBuf::from("/etc/services")
}

pub const WRAPPER_RULES: &[&str] = &["/etc/hosts.allow", "/etc/hosts.deny"];

pub fn plain(path: PathBuf) -> PathBuf {
    path
}

pub const EXAMPLE_LINE: &str = "7777  nobody:  date";

pub const EXAMPLE_TABLE: &str = r#"service.date = { listen = 7777, user = "nobody", command = "date" }"#;
