//! What runs us: a console or a service manager. The verbs that depend on it.

mod example;
pub mod output;
mod own_file;
mod serve;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::error::Error;
use crate::config::stored::{StartType, Stored};
use crate::model::exit_code::Exit;
pub use system::install::{install, remove};
pub use system::{debug, end_like, grant_batch_right, serve_for_manager, set_password};

/// What the verbs of a host need of the command line.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// How to serve.
    pub stored: Stored,
    /// The name under which the service is registered.
    pub service_name: String,
    /// Services of the command line; if there is one, no file is read.
    pub serve: Vec<OsString>,
    /// The account of the service.
    pub account: Option<String>,
    /// When the service starts.
    pub start: Option<StartType>,
    /// The folder below which files are written instead of being registered.
    pub root: Option<PathBuf>,
    /// The user that may log on as a batch job from now on.
    pub grant_batch_right: Option<String>,
}

/// If a service manager has started us with a command line that can't be read,
/// tells it why we end. False if it was a person.
pub fn tell_service_manager(why: &str) -> bool {
    system::tell_service_manager(why)
}

/// A service whose log file cannot be made ends at each start; so its folder is
/// looked at before anything is registered.
fn refuse_missing_log_folder(stored: &Stored) -> Result<(), Error> {
    match stored.log_path().and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let message = format!(
                "--log-file: there is no folder {}, and the service would not start\n    hint: make it first: mkdir \"{0}\"",
                folder.display()
            );
            Err(Error::Refused { message, exit: Exit::NoInput })
        }
        _ => Ok(()),
    }
}
