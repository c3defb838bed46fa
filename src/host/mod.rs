//! What runs us: a console or a service manager.

mod foreground;

use crate::check;
use crate::cli::{Options, Verb};
use crate::error::Error;
use crate::exit::Exit;

/// Does what the command line asks. Answers go to standard output, errors to
/// the caller.
pub fn run(options: &Options) -> Result<Exit, Error> {
    match options.verb() {
        Verb::Check => {
            let (report, exit) = check::check(options)?;
            answer(&report)?;
            Ok(exit)
        }
        Verb::Debug => foreground::serve(options, true),
        Verb::Serve => serve_for_manager(options),
    }
}

/// On Unix a service manager runs us as we are.
#[cfg(unix)]
fn serve_for_manager(options: &Options) -> Result<Exit, Error> {
    foreground::serve(options, false)
}

/// On Windows somebody has started us by hand.
#[cfg(windows)]
fn serve_for_manager(_: &Options) -> Result<Exit, Error> {
    complain(&format!("say what to do: --debug serves in this console\n\n{}", Options::usage()));
    Ok(Exit::Usage)
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

/// Writes why there is no answer.
pub fn complain(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(format!("wininetd: {text}\n").as_bytes());
}
