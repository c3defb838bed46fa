//! The files that `include` names, in the order of their names.

use std::path::{Path, PathBuf};

use super::reader::{Place, Reader};
use crate::config::source::Source;

/// What was found.
pub(super) struct Files {
    pub(super) sources: Vec<Source>,
    /// Folders in which a new file would be read: whoever can make one there
    /// chooses what runs.
    pub(super) folders: Vec<PathBuf>,
}

/// More than anybody keeps: a pattern that was meant for another folder.
const MOST: usize = 1000;

pub(super) fn files(reader: &mut Reader<'_>, patterns: &[(String, Place)]) -> Files {
    let mut found = Files { sources: Vec::new(), folders: Vec::new() };
    let mut read: Vec<PathBuf> = vec![reader.source.path.clone()];
    for (pattern, place) in patterns {
        let base = reader.source.path.parent().unwrap_or(Path::new(""));
        let path = base.join(pattern);
        let paths = match matching(&path) {
            Ok(Some((folder, paths))) => {
                found.folders.push(folder);
                paths
            }
            Ok(None) => vec![path],
            Err(why) => {
                reader.error(&place.range, why, None);
                continue;
            }
        };
        for path in paths {
            if read.contains(&path) {
                reader.error(&place.range, format!("{} is read already", path.display()), None);
                continue;
            }
            if read.len() > MOST {
                reader.error(&place.range, format!("more than {MOST} files would be read"), None);
                return found;
            }
            match Source::read(&path) {
                Ok(source) => found.sources.push(source),
                Err(error) => reader.error(&place.range, format!("{}: {error}", path.display()), None),
            }
            read.push(path);
        }
    }
    found
}

/// The folder and the files of a pattern; nothing where it is a plain name. A
/// folder that is not there has no files.
fn matching(path: &Path) -> Result<Option<(PathBuf, Vec<PathBuf>)>, String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    if folder.to_string_lossy().contains('*') {
        return Err("`*` stands in the last part only".to_owned());
    }
    if !name.contains('*') {
        return Ok(None);
    }
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Some((folder, Vec::new()))),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", folder.display()))?;
        let file = entry.file_name();
        let file = file.to_string_lossy();
        // Hidden ones are an editor's.
        if !file.starts_with('.') && fits(&name, &file) && entry.path().is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(Some((folder, paths)))
}

/// Whether a name is what a pattern says: `*` is any text.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.into_iter().any(|at| fits(rest, &name[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name) in [("*.toml", "a.toml"), ("a*b*c", "axbyc"), ("*", ""), ("a", "a")] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.toml", "a.tom"), ("a*b", "ab.bak"), ("a", "ab")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
