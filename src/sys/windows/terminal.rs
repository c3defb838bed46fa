//! The console of `--run`: the program has the caller's.

use std::io;

use super::super::Exit;

/// Nothing is separated here: the program shares the caller's console.
pub fn separate() -> io::Result<Option<Exit>> {
    Ok(None)
}
