//! The console of `--run`: the program has the caller's.

use std::io;

use crate::model::exit_status::ExitStatus;

/// Nothing is separated here: the program shares the caller's console.
pub fn separate() -> io::Result<Option<ExitStatus>> {
    Ok(None)
}
