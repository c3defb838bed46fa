//! What a reader makes of its files: the plan, where the parts of it stand, and
//! what there is to say.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Severity};
use super::error::Error;
use super::source::Source;
use crate::model::plan::{Plan, Server, Service};

/// Files that were read.
#[derive(Debug)]
pub struct Loaded {
    /// The file, then those that it includes.
    pub sources: Vec<Source>,
    /// What they mean. It is valid if no diagnostic is an error.
    pub plan: Plan,
    /// Where each service of the plan stands.
    pub spans: Vec<Spans>,
    /// Where the first file names the log file.
    pub log_file_span: Range<usize>,
    /// Findings about the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Where the parts of a service stand in their file, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    /// The file, by its index in [`Loaded::sources`].
    pub source: usize,
    /// The port or addresses.
    pub listen: Range<usize>,
    /// The user and password.
    pub identity: Range<usize>,
    /// The command line.
    pub command: Range<usize>,
    /// The files of TLS.
    pub tls: Range<usize>,
}

impl Loaded {
    /// A file that says nothing about the server as a whole.
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

    /// The file itself.
    pub fn main(&self) -> &Source {
        &self.sources[0]
    }

    /// The services, each with its spans.
    pub fn services(&self) -> impl Iterator<Item = (&Service, &Spans)> {
        self.plan.services.iter().map(Arc::as_ref).zip(&self.spans)
    }

    /// A warning about a span of a service.
    pub fn warning(&self, spans: &Spans, at: &Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(Severity::Warning, &self.sources[spans.source], at, message)
    }

    /// Whether the plan may not be served.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// All diagnostics as one error, if there is an error among them.
    pub fn without_errors(self) -> Result<Loaded, Error> {
        if self.has_errors() {
            return Err(Error::Configuration { diagnostics: self.diagnostics });
        }
        Ok(self)
    }
}
