//! What runs us: a console or a service manager. The verbs that depend on it.

mod ask;
mod example;
pub mod manager;
mod own_file;
mod run;
mod serve;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use std::path::Path;

use crate::check;
use crate::cli::{Options, Stored, Verb};
use crate::convert;
use crate::error::Error;
use crate::exit::Exit;
use crate::sys::process;

/// Does what the command line asks. Answers go to standard output, errors to
/// the caller.
pub fn run(options: &Options) -> Result<Exit, Error> {
    refuse_borrowed_rights()?;
    match options.verb() {
        Verb::Install => system::install::install(options),
        Verb::Remove => system::install::remove(options),
        Verb::Check => {
            let (report, exit) = check::check(options)?;
            answer(&report)?;
            Ok(exit)
        }
        Verb::Run(service) => Ok(system::end_like(run::run(options, &service)?)),
        Verb::Reload => ask::reload(options),
        Verb::Status => ask::status(options),
        Verb::Kill(session) => ask::kill(options, session),
        Verb::Explain(address) => ask::explain(options, address),
        Verb::Convert(file) => {
            let converted = convert::convert(&file, &options.stored, options.service_name())?;
            remark(converted.notes.iter().map(ToString::to_string));
            answer(&converted.text)?;
            Ok(Exit::Ok)
        }
        Verb::SetPassword(user) => system::set_password(options, &user),
        Verb::GrantBatchRight(user) => system::grant_batch_right(&user),
        Verb::Debug => system::debug(options),
        Verb::Serve => system::serve_for_manager(options),
    }
}

/// Every verb reads or runs what its caller names, so none is done with rights that
/// the caller does not have.
fn refuse_borrowed_rights() -> Result<(), Error> {
    let rights = process::borrowed_rights()
        .map_err(|cause| Error::System { what: "the rights of this process", cause })?;
    rights.map_or(Ok(()), |message| Err(Error::Refused { message, exit: Exit::NoPermission }))
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

/// Writes the answer of a verb. A reader that is gone wants no more of it; an
/// answer that could not be written for another reason is none.
pub fn answer(text: &str) -> Result<(), Error> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::System { what: "writing the answer", cause })
        }
        _ => Ok(()),
    }
}

/// Writes why there is no answer, each line as its reader wants it.
pub fn complain(text: &str) {
    remark([format!("wininetd: {text}")]);
}

/// Writes what there is to say beside an answer.
fn remark(texts: impl IntoIterator<Item = String>) {
    use std::io::Write;
    let mark = system::error_mark();
    let mut lines = String::new();
    for text in texts {
        lines.extend(text.lines().map(|line| format!("{mark}{line}\n")));
    }
    let _ = std::io::stderr().write_all(lines.as_bytes());
}
