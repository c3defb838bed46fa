//! Errors that end a run before it serves. The text is for the user. The exit code tells who can
//! fix it.

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::model::exit_code::Exit;

#[derive(Debug)]
pub enum Error {
    /// The configuration file cannot be read.
    Unreadable {
        path: PathBuf,
        example: &'static str,
        cause: io::Error,
    },
    Configuration {
        /// All findings, at least one of them an error.
        diagnostics: Vec<Diagnostic>,
    },
    /// `--convert` does not know the form of the file, or the file has errors.
    NotConverted {
        diagnostics: Vec<Diagnostic>,
    },
    LogFile {
        path: PathBuf,
        cause: io::Error,
    },
    /// The server could bind no port. A service keeps trying instead.
    NothingBound,
    OtherSystem {
        option: &'static str,
        why: &'static str,
    },
    Refused {
        /// What the verb wanted, why it failed, and what to do.
        message: String,
        exit: Exit,
    },
    System {
        what: &'static str,
        cause: io::Error,
    },
}

impl Error {
    pub fn exit(&self) -> Exit {
        match self {
            Error::Unreadable { cause, .. } | Error::LogFile { cause, .. } => match cause.kind() {
                io::ErrorKind::PermissionDenied => Exit::NoPermission,
                _ => Exit::NoInput,
            },
            Error::Configuration { .. } | Error::NotConverted { .. } => Exit::Config,
            Error::NothingBound => Exit::Unavailable,
            Error::OtherSystem { .. } => Exit::Usage,
            Error::Refused { exit, .. } => *exit,
            Error::System { .. } => Exit::System,
        }
    }
}

/// The most findings shown at once.
const MOST_SHOWN: usize = 200;

impl Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreadable { path, example, cause } => {
                write!(formatter, "{}: {cause}", path.display())?;
                match cause.kind() {
                    io::ErrorKind::NotFound => {
                        write!(formatter, "\n    hint: write one; a service is a line like:  {example}")
                    }
                    io::ErrorKind::PermissionDenied => {
                        write!(formatter, "\n    hint: this user may not read it; run as a user that may")
                    }
                    _ => write!(formatter, "\n    hint: --cfgfile FILE names the configuration file"),
                }
            }
            Error::Configuration { diagnostics } => findings(formatter, diagnostics, ""),
            Error::NotConverted { diagnostics } => findings(formatter, diagnostics, "; nothing is converted"),
            Error::LogFile { path, cause } => write!(formatter, "--log-file {}: {cause}", path.display()),
            Error::NothingBound => {
                write!(formatter, "no port could be bound, so the server cannot serve anything")
            }
            Error::OtherSystem { option, why } => {
                write!(formatter, "{option} is not available on this system: {why}")
            }
            Error::Refused { message, .. } => formatter.write_str(message),
            Error::System { what, cause } => write!(formatter, "{what}: {cause}"),
        }
    }
}

fn findings(formatter: &mut fmt::Formatter<'_>, diagnostics: &[Diagnostic], end: &str) -> fmt::Result {
    for diagnostic in diagnostics.iter().take(MOST_SHOWN) {
        diagnostic.fmt(formatter)?;
        writeln!(formatter)?;
    }
    if let Some(more) = diagnostics.len().checked_sub(MOST_SHOWN).filter(|&more| more > 0) {
        writeln!(formatter, "… and {more} more; is this a configuration file?")?;
    }
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
    write!(formatter, "{errors} error{}{end}", if errors == 1 { "" } else { "s" })
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unreadable { cause, .. } | Error::LogFile { cause, .. } | Error::System { cause, .. } => {
                Some(cause)
            }
            _ => None,
        }
    }
}
