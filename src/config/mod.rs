//! From what was typed to a plan: every error of the text in one run, each
//! with its place; findings about the world apart, since those heal.

pub mod classic;
pub mod diagnostic;
pub mod plan;
pub mod secret;
pub mod serve_option;
pub mod source;
pub mod trust;
pub mod world;

use std::path::Path;

use crate::error::Error;
use crate::sys;
use classic::Defaults;
use diagnostic::{Diagnostic, Severity};
use plan::Plan;
use source::Source;
use trust::Strictness;

/// A file that was read, and what there is to say about its text.
#[derive(Debug)]
pub struct Loaded {
    /// What was typed.
    pub source: Source,
    /// What it means.
    pub plan: Plan,
    /// Warnings and notes about its text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a configuration file. All its errors come in one.
pub fn load(path: &Path, defaults: &Defaults, strictness: Strictness) -> Result<Loaded, Error> {
    let loaded = read(path, defaults, strictness)?;
    if loaded.has_errors() {
        return Err(Error::Configuration { diagnostics: loaded.diagnostics });
    }
    Ok(loaded)
}

impl Loaded {
    /// Whether the plan may not be served.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }
}

/// Reads a configuration file, errors and all.
pub fn read(path: &Path, defaults: &Defaults, strictness: Strictness) -> Result<Loaded, Error> {
    let mut source = Source::read(path).map_err(|cause| Error::Unreadable {
        path: path.to_owned(),
        example: sys::paths::EXAMPLE_LINE,
        cause,
    })?;
    let (plan, mut diagnostics) = classic::parse(&mut source, defaults);
    diagnostics.extend(trust::judge(&source, strictness));
    Ok(Loaded { source, plan, diagnostics })
}
