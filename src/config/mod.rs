//! From what was typed to a plan: every error of the text in one run, each
//! with its place; findings about the world apart, since those heal.

pub mod classic;
pub mod defaults;
pub mod diagnostic;
pub mod error;
pub mod loaded;
pub mod missing_user;
pub mod native;
mod needs_pipes;
mod needs_socket;
mod program_name;
pub mod serve_option;
pub mod session_variables;
pub mod source;
pub mod stored;
pub mod trust;
pub mod world;
pub mod zeros;

use std::path::Path;

use crate::config::error::Error;
use crate::sys;
use defaults::Defaults;
use diagnostic::{Diagnostic, Severity};
use source::Source;
use trust::Strictness;

/// Files that were read, and what they mean.
pub use loaded::Loaded;

/// Reads a configuration file. All its errors come in one.
pub fn load(path: &Path, defaults: &Defaults, strictness: Strictness) -> Result<Loaded, Error> {
    read(path, defaults, strictness)?.without_errors()
}

/// Reads it for a server that runs. A pipe in its place is an error: it would be
/// waited for, and what came out of it at the start does not come again.
pub fn load_again(path: &Path, defaults: &Defaults, strictness: Strictness) -> Result<Loaded, Error> {
    understand(Source::read(path), path, defaults, strictness)?.without_errors()
}

/// Reads a configuration file, errors and all.
pub fn read(path: &Path, defaults: &Defaults, strictness: Strictness) -> Result<Loaded, Error> {
    understand(Source::read_named(path), path, defaults, strictness)
}

fn understand(
    source: std::io::Result<Source>,
    path: &Path,
    defaults: &Defaults,
    strictness: Strictness,
) -> Result<Loaded, Error> {
    let source = source.map_err(|cause| Error::Unreadable {
        path: path.to_owned(),
        example: if is_native(path) { sys::paths::EXAMPLE_TABLE } else { sys::paths::EXAMPLE_LINE },
        cause,
    })?;
    let mut loaded = if source.is_empty() {
        let error = Diagnostic::of_file(Severity::Error, &source, source::EMPTY);
        Loaded::of_one(source, Vec::new(), vec![error.hint(source::EMPTY_HINT.to_owned())])
    } else if is_native(path) {
        native::read(source, defaults)
    } else {
        classic::read(source, defaults)
    };
    loaded.diagnostics.extend(trust::judge(&loaded.sources, strictness));
    Ok(loaded)
}

/// Whether a file is read in the native form: by its name, so that nothing in
/// it can be taken for the other.
pub fn is_native(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}
