//! What can end a run before it serves. An error carries what is known, its
//! text is the sentence for the user, its exit code says whose fault it is.

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::model::exit_code::Exit;

/// Why a run could not do what was asked.
#[derive(Debug)]
pub enum Error {
    /// The configuration file could not be read. The administrator's fault.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// A line that would make one.
        example: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// The text of the configuration is wrong. The administrator's fault.
    Configuration {
        /// Everything there is to say, errors among it.
        diagnostics: Vec<Diagnostic>,
    },
    /// The file has none of the forms that can be converted, or errors in its
    /// own. The administrator's fault.
    NotConverted {
        /// Everything there is to say, errors among it.
        diagnostics: Vec<Diagnostic>,
    },
    /// The log file could not be opened. The administrator's fault.
    LogFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// No port of the file could be bound. The world's fault; as a service we
    /// would go on trying.
    NothingBound,
    /// The option is another system's. The caller's fault.
    OtherSystem {
        /// The option.
        option: &'static str,
        /// Why it has no meaning here.
        why: &'static str,
    },
    /// A verb could not do its work, for a reason that somebody can mend.
    Refused {
        /// What was wanted, why it was refused, and what to do.
        message: String,
        /// What it counts as.
        exit: Exit,
    },
    /// The system refused something basic. Nobody's fault that we know.
    System {
        /// What we wanted.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

impl Error {
    /// The exit code that says the same.
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

/// Findings that are shown at once: more than anybody mends in one go.
const MOST_SHOWN: usize = 200;

impl Display for Error {
    /// The alternate form has colors.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreadable { path, example, cause } => {
                write!(formatter, "{}: {cause}", path.display())?;
                match cause.kind() {
                    io::ErrorKind::NotFound => {
                        write!(formatter, "\n    hint: write one; a service is a line like:  {example}")
                    }
                    io::ErrorKind::PermissionDenied => {
                        write!(formatter, "\n    hint: this user may not read it; run as one who may")
                    }
                    _ => write!(formatter, "\n    hint: --cfgfile FILE names the configuration file"),
                }
            }
            Error::Configuration { diagnostics } => findings(formatter, diagnostics, ""),
            Error::NotConverted { diagnostics } => findings(formatter, diagnostics, "; nothing is converted"),
            Error::LogFile { path, cause } => write!(formatter, "--log-file {}: {cause}", path.display()),
            Error::NothingBound => write!(formatter, "no port could be bound, so there is nothing to serve"),
            Error::OtherSystem { option, why } => write!(formatter, "{option} is not for this system: {why}"),
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
