//! The program's own file: what a service manager starts with all rights must
//! not be a file that ordinary users can replace.

use std::path::Path;

use crate::config::error::Error;
use crate::model::exit_code::Exit;
use crate::sys::trust;

/// What a start has to say about it: it is looked at again, since folders
/// change after an installation.
pub(super) fn findings() -> Vec<String> {
    let program = std::env::current_exe().unwrap_or_default();
    match examine(&program, "install it where only administrators write") {
        Ok(warnings) => warnings,
        Err(Error::Refused { message, .. }) => vec![message],
        // Not there any more (an upgrade in the midst): nothing can be said.
        Err(_) => Vec::new(),
    }
}

/// Looks at the file and its folder. Refuses what anybody can replace, with
/// the `advice` where to put it; what somebody can is a warning.
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
            let message =
                format!("{message}, and so what would run with all rights\n    hint: {advice}, or `{mend}`");
            return Err(Error::Refused { message, exit: Exit::NoPermission });
        }
        if !others.is_empty() {
            warnings.push(format!("{message}\n    hint: `{mend}` takes that away"));
        }
    }
    Ok(warnings)
}
