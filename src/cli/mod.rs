//! The command line: verbs, their options and their answers.

mod ask;
mod check;
pub mod color;
pub mod options;
mod run;

use crate::config::error::Error;
use crate::convert;
use crate::host;
use crate::host::output::{answer, remark};
use crate::model::exit_code::Exit;
use crate::sys::process;
use options::{Options, Verb};

/// Runs the verb. Answers go to standard output, errors to the caller.
pub fn run(options: &Options) -> Result<Exit, Error> {
    refuse_borrowed_rights()?;
    match options.verb() {
        Verb::Install => host::install(&options.host()),
        Verb::Remove => host::remove(&options.host()),
        Verb::Check => {
            let (report, exit) = check::check(options)?;
            answer(&report)?;
            Ok(exit)
        }
        Verb::Run(service) => Ok(host::end_like(run::run(options, &service)?)),
        Verb::Reload => ask::reload(options),
        Verb::Status => ask::status(options),
        Verb::Kill(session) => ask::kill(options, session),
        Verb::Explain(address) => ask::explain(options, address),
        Verb::Convert(file) => {
            let converted = convert::convert(&file, &options.stored, options.service_name())?;
            remark(converted.notes.iter().map(|note| options.color.shown(note, &std::io::stderr())));
            answer(&converted.text)?;
            Ok(Exit::Ok)
        }
        Verb::SetPassword(user) => host::set_password(options.service_name(), &user),
        Verb::GrantBatchRight(user) => host::grant_batch_right(&user),
        Verb::Debug => host::debug(&options.host()),
        Verb::Serve => host::serve_for_manager(&options.host(), &Options::usage()),
    }
}

/// Every verb reads or runs files that the caller names, so it must not have more rights than the
/// caller.
fn refuse_borrowed_rights() -> Result<(), Error> {
    let rights = process::borrowed_rights()
        .map_err(|cause| Error::System { what: "the rights of this process", cause })?;
    rights.map_or(Ok(()), |message| Err(Error::Refused { message, exit: Exit::NoPermission }))
}
