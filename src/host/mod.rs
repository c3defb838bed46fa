//! Hosts of the server, a console or a service manager, and the verbs that depend on them.

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

#[derive(Debug, Clone)]
pub struct HostOptions {
    pub stored: Stored,
    pub service_name: String,
    /// Services from the command line. If there are any, the server reads no file.
    pub serve: Vec<OsString>,
    pub account: Option<String>,
    pub start: Option<StartType>,
    /// The directory for files that are written instead of registering the service.
    pub root: Option<PathBuf>,
    pub grant_batch_right: Option<String>,
}

/// Tells a service manager why its command line is invalid. False if a person is the caller.
pub fn tell_service_manager(why: &str) -> bool {
    system::tell_service_manager(why)
}

/// Without the directory the service would fail at each start.
fn refuse_missing_log_folder(stored: &Stored) -> Result<(), Error> {
    match stored.log_path().and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let message = format!(
                "--log-file: the folder {} does not exist, so the service would not start\n    hint: make it first: mkdir \"{0}\"",
                folder.display()
            );
            Err(Error::Refused { message, exit: Exit::NoInput })
        }
        _ => Ok(()),
    }
}
