//! Checks the program's own file. A service manager starts it with all rights, so ordinary users
//! must not be able to replace it.

use std::path::Path;

use crate::config::error::Error;
use crate::model::exit_code::Exit;
use crate::sys::trust;

/// Checks again at each start, because directories change after an installation.
pub(super) fn findings() -> Vec<String> {
    let program = std::env::current_exe().unwrap_or_default();
    match examine(&program, "install it where only administrators write") {
        Ok(warnings) => warnings,
        Err(Error::Refused { message, .. }) => vec![message],
        // The file is missing during an upgrade.
        Err(_) => Vec::new(),
    }
}

/// Refuses a file that anyone can replace, with `advice` on where to put it. Warns if some can.
pub(super) fn examine(program: &Path, advice: &str) -> Result<Vec<String>, Error> {
    let look = |cause| Error::System { what: "looking at the program's own file", cause };
    let file = std::fs::File::open(program).map_err(look)?;
    let folder = program.parent().unwrap_or(program);
    let mut found = vec![(program.to_owned(), trust::file_writers(&file).map_err(look)?)];
    found.extend(trust::folder_writers(folder).map_err(look)?);
    let mut warnings = Vec::new();
    for (path, others) in found {
        let message = format!("{} can change {}", others.names(), path.display());
        let mend = trust::mend_writers(&path, &others);
        if !others.anyone.is_empty() {
            let message = format!(
                "{message}, and so choose what runs with full rights\n    hint: {advice}, or `{mend}`"
            );
            return Err(Error::Refused { message, exit: Exit::NoPermission });
        }
        if !others.is_empty() {
            warnings.push(format!("{message}\n    hint: `{mend}` corrects that"));
        }
    }
    Ok(warnings)
}
