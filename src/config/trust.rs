//! Whether to trust a configuration: an account that can change it chooses what runs with the
//! server's rights.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Severity};
use super::source::Source;
use crate::sys::{self, CAPABILITIES, Others, trust};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Refuse what [`Others::anyone`] can change: the server has rights that they lack.
    Refuse,
    /// Also refuse what [`Others::some`] can change. An account that may start a service can name
    /// any file in its parameters.
    RefuseOthers,
    Warn,
}

impl Strictness {
    /// The strictness for a file that the server writes. A privileged server in a console is strict
    /// too: others can replace the file after a person has named it.
    pub fn for_writing(self) -> Strictness {
        match self {
            Strictness::Warn if sys::process::is_privileged() => Strictness::Refuse,
            strictness => strictness,
        }
    }

    fn refuses(self, others: &Others) -> bool {
        match self {
            Strictness::RefuseOthers => !others.is_empty(),
            Strictness::Refuse => !others.anyone.is_empty(),
            Strictness::Warn => false,
        }
    }
}

pub fn judge(sources: &[Source], strictness: Strictness) -> Vec<Diagnostic> {
    let mut told = Vec::new();
    sources.iter().flat_map(|source| judge_one(source, strictness, &mut told)).collect()
}

#[derive(Debug, Clone, Copy)]
pub struct LogFile<'a> {
    pub path: &'a Path,
    pub source: &'a Source,
    pub range: &'a Range<usize>,
}

/// Checks a log file before the server opens it. An account that can replace the file chooses what
/// the server writes to.
pub fn judge_log(file: LogFile<'_>, strictness: Strictness) -> Vec<Diagnostic> {
    let say = |severity, message: String, hint: Option<String>| {
        Diagnostic::at(severity, file.source, file.range, message).hint(hint)
    };
    let path = match std::path::absolute(file.path) {
        Ok(path) => path,
        Err(error) => return vec![say(Severity::Error, error.to_string(), None)],
    };
    let folder = path.parent().unwrap_or(&path);
    let folders = match log_folders(folder) {
        Ok(folders) => folders,
        Err(error) => {
            // The folder may appear before the server starts.
            let message = format!("the log file's folder {}: {error}", folder.display());
            return vec![say(Severity::Warning, message, None)];
        }
    };
    let mut found = Vec::new();
    for (above, others) in folders {
        let message = format!("{} can change {}, and so redirect the log", others.names(), above.display());
        let (severity, message) = if strictness.refuses(&others) {
            (Severity::Error, message)
        } else if others.anyone.is_empty() {
            (Severity::Warning, message)
        } else {
            (Severity::Warning, format!("{message}; {} refuses that", CAPABILITIES.refuses))
        };
        let hint = if above == folder && !trust::is_shared(&above) {
            format!("`{}` corrects that", trust::mend_writers(&above, &others))
        } else {
            "use a folder that only this server's account and administrators can change".to_owned()
        };
        found.push(say(severity, message, Some(hint)));
    }
    if let Ok(looked) = std::fs::symlink_metadata(&path)
        && let Err(error) = sys::files::unlinked(&looked)
    {
        let hint = "name a regular file, or one that does not exist yet".to_owned();
        found.push(say(Severity::Error, format!("the log file {}: {error}", path.display()), Some(hint)));
    }
    found
}

pub fn is_log_exposed(path: &Path, strictness: Strictness) -> bool {
    let folders = log_folders(path.parent().unwrap_or(path));
    folders.is_ok_and(|folders| folders.iter().any(|(_, others)| strictness.refuses(others)))
}

/// Folders in which others can create or replace the log file, both as named and with links
/// resolved.
fn log_folders(folder: &Path) -> std::io::Result<Vec<(PathBuf, Others)>> {
    let real = sys::paths::plain(std::fs::canonicalize(folder)?);
    let mut found = trust::folder_creators(folder)?;
    for behind in trust::folder_creators(&real)? {
        if !found.contains(&behind) {
            found.push(behind);
        }
    }
    Ok(found)
}

fn judge_one(source: &Source, strictness: Strictness, told: &mut Vec<PathBuf>) -> Vec<Diagnostic> {
    let trust = &source.trust;
    let mut found = Vec::new();
    let mut say = |what: &str, others: &Others, severity, hint: String| {
        let message = format!("{} can {what}", others.names());
        found.push(Diagnostic::of_file(severity, source, message).hint(hint));
    };
    let own_folders: Vec<&Path> = [Some(source.path.as_path()), trust.real.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(Path::parent)
        .collect();
    let file = [(source.path.as_path(), &trust.writers, "change this file".to_owned())];
    let folders = trust.folders.iter().filter(|(path, _)| !told.contains(path));
    let folders = folders.map(|(path, others)| {
        (path.as_path(), others, format!("change the files in the folder {}", path.display()))
    });
    for (path, others, what) in file.into_iter().chain(folders).filter(|(_, others, _)| !others.is_empty()) {
        let (what, severity) = if strictness.refuses(others) {
            (format!("{what}, and so choose what runs with this server's rights"), Severity::Error)
        } else if others.anyone.is_empty() {
            (what, Severity::Warning)
        } else {
            (format!("{what}; {} refuses that", CAPABILITIES.refuses), Severity::Warning)
        };
        // Other accounts share a folder further up, so moving the file is better.
        let hint = if path == source.path || own_folders.contains(&path) {
            format!("`{}` corrects that", trust::mend_writers(path, others))
        } else {
            format!(
                "move the file below a folder that only administrators can change, or correct its rights: `{}`",
                trust::mend_writers(path, others)
            )
        };
        say(&what, others, severity, hint);
    }
    told.extend(trust.folders.iter().map(|(path, _)| path.clone()));
    if CAPABILITIES.passwords && source.has_passwords && !trust.readers.is_empty() {
        let hint = format!("`{}` corrects that", trust::mend_readers(&source.path, &trust.readers));
        say("read this file, which holds passwords", &trust.readers, Severity::Warning, hint);
    }
    found
}
