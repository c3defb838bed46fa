//! The program's own file: what a service manager starts with all rights must
//! not be a file that ordinary users can replace.

use std::path::Path;

use crate::error::Error;
use crate::exit::Exit;
use crate::sys::trust;

/// Looks at the file and its folder. Refuses what anybody can replace, with
/// the `advice` where to put it; what somebody can is a warning.
pub(super) fn examine(program: &Path, advice: &str) -> Result<Vec<String>, Error> {
    let look = |cause| Error::System { what: "looking at the program's own file", cause };
    let file = std::fs::File::open(program).map_err(look)?;
    let folder = program.parent().unwrap_or(program);
    let mut warnings = Vec::new();
    for (path, others) in [
        (program, trust::file_writers(&file).map_err(look)?),
        (folder, trust::folder_writers(folder).map_err(look)?),
    ] {
        let message = format!("{} can change {}", others.names(), path.display());
        let mend = trust::mend(path, &others);
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
