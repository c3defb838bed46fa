//! Answers of verbs on standard output, and remarks on standard error.

use super::system;
use crate::config::error::Error;

/// A closed pipe is no error, because its reader wants no more.
pub fn answer(text: &str) -> Result<(), Error> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::System { what: "writing the answer", cause })
        }
        _ => Ok(()),
    }
}

pub fn complain(text: &str) {
    remark([format!("wininetd: {text}")]);
}

/// Writes remarks to standard error, each line with the mark that its reader expects.
pub fn remark(texts: impl IntoIterator<Item = String>) {
    use std::io::Write;
    let mark = system::error_mark();
    let mut lines = String::new();
    for text in texts {
        lines.extend(text.lines().map(|line| format!("{mark}{line}\n")));
    }
    let _ = std::io::stderr().write_all(lines.as_bytes());
}
