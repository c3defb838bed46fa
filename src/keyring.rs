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
            let keys = keys.map_err(|fault| {
                let old = before.remove(&files).and_then(Result::ok);
                let meanwhile = match &old {
                    Some(_) => "the certificate of before stays",
                    None => "clients are closed until it is mended and read again",
                };
                let hint = fault.hint.clone();
                findings.push(Finding { message: format!("{fault}; {meanwhile}"), hint });
                (old, fault)
            });
            let keys = match keys {
                Ok(keys) => {
                    if let Some(Fault { hint, .. }) = keys.complaint() {
                        let message = keys.complaint().map(Fault::to_string).unwrap_or_default();
                        findings.push(Finding { message, hint: hint.clone() });
                    }
                    Ok(keys)
                }
                Err((Some(keys), _)) => Ok(keys),
                Err((None, fault)) => Err(Arc::from(fault.to_string())),
            };
            self.keys.insert(files, keys);
        }
        findings
    }

    /// Those of a service, or why it has none.
    pub fn get(&self, files: &plan::Tls) -> Option<Result<Keys, Arc<str>>> {
        self.keys.get(files).cloned()
    }
}
