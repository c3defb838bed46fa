//! What services need for TLS, by the files that it is in. Read when the
//! configuration is; a pair that is broken by then does not replace a good one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::plan::{self, Plan};
use crate::tls::Fault;
pub use crate::tls::Keys;

/// Keys and certificates, or why they can't be used.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: HashMap<plan::Tls, Result<Keys, Arc<str>>>,
}

/// What was just read, by its files.
pub type Read = HashMap<plan::Tls, Result<Keys, Fault>>;

/// What came of reading some files again.
#[derive(Debug)]
pub struct Finding {
    /// The files.
    pub files: plan::Tls,
    /// What came of it.
    pub news: News,
}

/// See [`Finding`].
#[derive(Debug)]
pub enum News {
    /// Another certificate is there, and in use.
    Renewed(Keys),
    /// They can't be used; what there was before goes on.
    Kept(Fault, Keys),
    /// They can't be used, nor is there anything else.
    Missing(Fault),
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
            let known = before.remove(&files);
            let (keys, news) = match (keys, known) {
                (Ok(keys), None) => (Ok(keys), None),
                (Ok(keys), Some(Ok(old))) if keys.same_certificate(&old) => (Ok(keys), None),
                (Ok(keys), Some(_)) => (Ok(keys.clone()), Some(News::Renewed(keys))),
                (Err(fault), Some(Ok(old))) => (Ok(old.clone()), Some(News::Kept(fault, old))),
                (Err(fault), _) => (Err(Arc::from(fault.to_string())), Some(News::Missing(fault))),
            };
            findings.extend(news.map(|news| Finding { files: files.clone(), news }));
            self.keys.insert(files, keys);
        }
        findings
    }

    /// Those of a service, or why it has none.
    pub fn get(&self, files: &plan::Tls) -> Option<Result<Keys, Arc<str>>> {
        self.keys.get(files).cloned()
    }
}
