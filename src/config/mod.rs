//! Reads the configuration into a plan. One run reports all errors of the text, with positions.
//! Findings about accounts and programs are separate, because they can heal.

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

pub use loaded::Loaded;

/// Reads a configuration file. The error holds all findings.
pub fn load(path: &Path, defaults: &Defaults, strictness: Strictness) -> Result<Loaded, Error> {
    read(path, defaults, strictness)?.without_errors()
}

/// Reads the file for a reload. A pipe is an error: the server would wait on it, and its content
/// from the start does not come again.
pub fn load_again(path: &Path, defaults: &Defaults, strictness: Strictness) -> Result<Loaded, Error> {
    understand(Source::read(path), path, defaults, strictness)?.without_errors()
}

/// Reads a configuration file and keeps its errors in the result.
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

/// The file's name alone selects the native form, so no content is mistaken for the other form.
pub fn is_native(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}
