//! Whether a configuration may be believed: who can change it chooses what
//! runs with our rights.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Severity};
use super::source::Source;
use crate::sys::{self, CAPABILITIES, Others, trust};

/// What to do about a file that strangers can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Nothing of it is served if it may be anybody: we have rights that they
    /// have not.
    Refuse,
    /// Nor if it is anybody but administrators: whoever may start a service
    /// can name any file of theirs in its parameters.
    RefuseOthers,
    /// Say so.
    Warn,
}

/// Who else can change or read a file that was opened.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    writers: Others,
    readers: Others,
    folders: Vec<(PathBuf, Others)>,
    /// Where the file lies, behind all links.
    real: Option<PathBuf>,
}

impl Trust {
    /// Looks at an opened file, so that nothing can be swapped between this
    /// and reading it, and at the folders that it is reached through.
    pub fn of(file: &File, path: &Path) -> std::io::Result<Trust> {
        let mut folders: Vec<PathBuf> = Vec::new();
        // Through a link two folders matter: that of the link and the file's.
        let real = std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), sys::paths::plain);
        for folder in [path, &*real].into_iter().filter_map(Path::parent) {
            if !folders.iter().any(|known| known == folder) {
                folders.push(folder.to_owned());
            }
        }
        let mut above: Vec<(PathBuf, Others)> = Vec::new();
        for folder in folders {
            for found in trust::folder_writers(&folder)? {
                if !above.contains(&found) {
                    above.push(found);
                }
            }
        }
        Ok(Trust {
            writers: trust::file_writers(file)?,
            readers: trust::file_readers(file)?,
            folders: above,
            real: Some(real),
        })
    }
}

/// What there is to say of the files that were read. Folders that they share
/// are spoken of once.
pub fn judge(sources: &[Source], strictness: Strictness) -> Vec<Diagnostic> {
    let mut told = Vec::new();
    sources.iter().flat_map(|source| judge_one(source, strictness, &mut told)).collect()
}

/// Adds a folder from which files are read, whatever their names.
pub fn count_folder(source: &mut Source, folder: &Path) -> std::io::Result<()> {
    for found in trust::folder_writers(folder)? {
        if !source.trust.folders.contains(&found) {
            source.trust.folders.push(found);
        }
    }
    Ok(())
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
        (path.as_path(), others, format!("change what lies in the folder {}", path.display()))
    });
    for (path, others, what) in file.into_iter().chain(folders).filter(|(_, others, _)| !others.is_empty()) {
        let refused = match strictness {
            Strictness::RefuseOthers => true,
            Strictness::Refuse => !others.anyone.is_empty(),
            Strictness::Warn => false,
        };
        let (what, severity) = if refused {
            (format!("{what}, and so choose what runs with the rights of this server"), Severity::Error)
        } else if others.anyone.is_empty() {
            (what, Severity::Warning)
        } else {
            (format!("{what}; {} refuses that", CAPABILITIES.refuses), Severity::Warning)
        };
        // A folder further up is others' as well: better to move the file.
        let hint = if path == source.path || own_folders.contains(&path) {
            format!("`{}` takes that away", trust::mend_writers(path, others))
        } else {
            format!(
                "move the file below a folder that only administrators can change, or mend {}",
                path.display()
            )
        };
        say(&what, others, severity, hint);
    }
    told.extend(trust.folders.iter().map(|(path, _)| path.clone()));
    if CAPABILITIES.passwords && source.has_secrets() && !trust.readers.is_empty() {
        let hint = format!("`{}` takes that away", trust::mend_readers(&source.path, &trust.readers));
        say("read this file, which holds passwords", &trust.readers, Severity::Warning, hint);
    }
    found
}
