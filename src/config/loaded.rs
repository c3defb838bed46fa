//! The result of reading configuration files: the plan, positions in the files, and findings.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Severity};
use super::error::Error;
use super::source::Source;
use crate::model::plan::{Plan, Server, Service};

#[derive(Debug)]
pub struct Loaded {
    /// The main file first, then its includes.
    pub sources: Vec<Source>,
    /// Valid only if no diagnostic is an error.
    pub plan: Plan,
    pub spans: Vec<Spans>,
    /// Position of `log_file` in the main file.
    pub log_file_span: Range<usize>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Positions of a service's parts in its file, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    /// Index into [`Loaded::sources`].
    pub source: usize,
    pub listen: Range<usize>,
    pub identity: Range<usize>,
    pub command: Range<usize>,
    pub tls: Range<usize>,
}

impl Loaded {
    pub(super) fn of_one(
        source: Source,
        services: Vec<(Service, Spans)>,
        diagnostics: Vec<Diagnostic>,
    ) -> Loaded {
        let (services, spans) =
            services.into_iter().map(|(service, spans)| (Arc::new(service), spans)).unzip();
        let plan = Plan { services, server: Server::default() };
        Loaded { sources: vec![source], plan, spans, log_file_span: 0..0, diagnostics }
    }

    pub fn main(&self) -> &Source {
        &self.sources[0]
    }

    pub fn services(&self) -> impl Iterator<Item = (&Service, &Spans)> {
        self.plan.services.iter().map(Arc::as_ref).zip(&self.spans)
    }

    pub fn warning(&self, spans: &Spans, at: &Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(Severity::Warning, &self.sources[spans.source], at, message)
    }

    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// All diagnostics as one error, if one of them is an error.
    pub fn without_errors(self) -> Result<Loaded, Error> {
        if self.has_errors() {
            return Err(Error::Configuration { diagnostics: self.diagnostics });
        }
        Ok(self)
    }
}
