//! The example configuration of a new installation. It serves nothing and shows how to.

use std::path::Path;

use crate::config::is_native;
use crate::sys;

/// Returns whether the example was written. An existing file stays unchanged.
pub(super) fn write_if_missing(path: &Path) -> std::io::Result<bool> {
    use std::io::Write;
    match std::fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => {
            let text = if is_native(path) { native() } else { text() };
            file.write_all(text.as_bytes()).map(|()| true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn native() -> String {
    let text = format!(
        "\
# wininetd: each [service.NAME] with `listen` and `command` is a service.
# Look at a changed file with: wininetd --check --cfgfile FILE
#
# {}
",
        sys::paths::EXAMPLE_TABLE
    );
    if cfg!(windows) { text.replace('\n', "\r\n") } else { text }
}

fn text() -> String {
    let text = format!(
        "\
# wininetd: each line that begins with a digit is a service; all others are comments.
#
# PORT  USER:PASS  CMDLINE
#
# USER:PASS is the account that the program runs as; `none` is the server's own,
# with all its rights. Look at a changed file with: wininetd --check
#
# {}
",
        sys::paths::EXAMPLE_LINE
    );
    if cfg!(windows) { text.replace('\n', "\r\n") } else { text }
}
