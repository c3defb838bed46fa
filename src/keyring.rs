//! What services need for TLS, by the files that it is in. Read when the
//! configuration is; a pair that is broken by then does not replace a good one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::plan::{self, Plan};
use crate::tls::{Fault, Keys};

/// Keys and certificates, or why they can't be used.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: HashMap<plan::Tls, Result<Keys, Arc<str>>>,
}

/// What was just read, by its files.
pub type Read = HashMap<plan::Tls, Result<Keys, Fault>>;

/// What is wrong with some files, for people.
#[derive(Debug)]
pub struct Finding {
    /// What, and what holds meanwhile.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether what there was before goes on.
    pub kept: bool,
}

impl Keyring {
    /// Reads the files of all services that are served. Blocks.
    pub fn read(plan: &Plan) -> Read {
        let files = plan.enabled().filter_map(|service| service.tls.clone());
        files.map(|files| (files.clone(), Keys::load(&files))).collect()
    }

    /// Takes what was read. What can't be used leaves what there was.
    pub fn renew(&mut self, read: Read) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut before = std::mem::take(&mut self.keys);
        for (files, keys) in read {
            let keys = keys.or_else(|fault| {
                let old = before.remove(&files).and_then(Result::ok);
                let meanwhile = match &old {
                    Some(_) => "the certificate of before stays",
                    None => "clients are closed until it is mended and read again",
                };
                let message = format!("{fault}; {meanwhile}");
                findings.push(Finding { message, hint: fault.hint.clone(), kept: old.is_some() });
                old.ok_or_else(|| Arc::from(fault.to_string()))
            });
            self.keys.insert(files, keys);
        }
        findings
    }

    /// Those of a service, or why it has none.
    pub fn get(&self, files: &plan::Tls) -> Option<Result<Keys, Arc<str>>> {
        self.keys.get(files).cloned()
    }
}
