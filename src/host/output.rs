//! Answers of verbs on standard output, and what is said beside them on standard
//! error.

use super::system;
use crate::config::error::Error;

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
pub fn remark(texts: impl IntoIterator<Item = String>) {
    use std::io::Write;
    let mark = system::error_mark();
    let mut lines = String::new();
    for text in texts {
        lines.extend(text.lines().map(|line| format!("{mark}{line}\n")));
    }
    let _ = std::io::stderr().write_all(lines.as_bytes());
}
