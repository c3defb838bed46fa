//! The key `include`: names, or patterns with `*` in the last part.

use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::hide::hide;
use super::report::At;
use super::units::{Fault, value};
use crate::config::source::{EMPTY, EMPTY_HINT, Source};

pub(super) struct IncludeFault {
    pub at: At,
    pub fault: Fault,
    pub harmless: bool,
}

/// Appends the included files to `sources`.
pub(super) fn read(sources: &mut Vec<Source>) -> Vec<IncludeFault> {
    let main = sources[0].path.clone();
    let folder = main.parent().unwrap_or(Path::new(""));
    let mut known = vec![identity(&main)];
    let mut found = Vec::new();
    for pattern in patterns(&sources[0]) {
        let at = At { source: 0, range: pattern.span() };
        let mut say = |fault, harmless| found.push(IncludeFault { at: at.clone(), fault, harmless });
        let (paths, is_pattern) = match resolve(folder, pattern.get_ref(), &mut sources[0]) {
            Ok(Resolved::Name(path)) => (vec![path], false),
            Ok(Resolved::Matches(paths)) => (paths, true),
            Ok(Resolved::NoFolder(path)) => {
                say(Fault::plain(format!("there is no folder {}", value(path.display()))), true);
                continue;
            }
            Err(fault) => {
                say(fault, false);
                continue;
            }
        };
        for path in paths {
            let identity = identity(&path);
            if known.contains(&identity) {
                if !is_pattern {
                    say(Fault::plain(format!("{} is read already", value(path.display()))), false);
                }
                continue;
            }
            known.push(identity);
            match Source::read(&path) {
                Ok(source) if source.is_empty() => {
                    say(Fault::new(format!("{}: {EMPTY}", value(path.display())), EMPTY_HINT), false);
                }
                Ok(mut source) => {
                    hide(&mut source);
                    sources.push(source);
                }
                Err(error) => say(Fault::plain(format!("{}: {error}", value(path.display()))), false),
            }
        }
    }
    found
}

/// The strings in `include`. The reader reports other types later.
fn patterns(source: &Source) -> Vec<Spanned<String>> {
    let Ok(text) = std::str::from_utf8(&source.text) else { return Vec::new() };
    let (document, _) = DeTable::parse_recoverable(text);
    let owned = |value: &Spanned<DeValue<'_>>| {
        value.get_ref().as_str().map(|text| Spanned::new(value.span(), text.to_owned()))
    };
    match document.get_ref().get("include") {
        Some(value) => match value.get_ref() {
            DeValue::Array(array) => array.iter().filter_map(owned).collect(),
            _ => owned(value).into_iter().collect(),
        },
        None => Vec::new(),
    }
}

enum Resolved {
    Name(PathBuf),
    /// Sorted by name.
    Matches(Vec<PathBuf>),
    NoFolder(PathBuf),
}

fn resolve(folder: &Path, pattern: &str, source: &mut Source) -> Result<Resolved, Fault> {
    let pattern = Path::new(pattern);
    let last = pattern.file_name().and_then(|name| name.to_str());
    let Some(last) = last.filter(|_| !pattern.to_string_lossy().contains(char::is_control)) else {
        return Err(Fault::plain("this is not the name of a file"));
    };
    let folder = folder.join(pattern.parent().unwrap_or(Path::new("")));
    if folder.to_string_lossy().contains('*') {
        return Err(Fault::plain("`*` stands in the last part of a path only"));
    }
    if !last.contains('*') {
        return Ok(Resolved::Name(folder.join(last)));
    }
    let listed = std::fs::read_dir(readable(&folder)).and_then(|entries| {
        // An account that can create a file there chooses what the server serves.
        source.count_folder(&folder)?;
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
    });
    let mut names = match listed {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Resolved::NoFolder(folder)),
        Err(error) => return Err(Fault::plain(format!("{}: {error}", value(folder.display())))),
    };
    names.retain(|name| matches(last, &name.to_string_lossy()));
    names.sort();
    let paths = names.into_iter().map(|name| folder.join(name));
    Ok(Resolved::Matches(paths.filter(|path| path.is_file()).collect()))
}

fn readable(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// The same for all paths to one file.
fn identity(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Matches `*` with any text. A hidden file needs a pattern that begins with a dot, because editors
/// leave hidden files behind.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name) in
            [("*.toml", "a.toml"), ("*", "a"), ("a*b*c", "a1b2bc"), ("a*", "a"), ("**", "x")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.toml", "a.toml~"), ("*.toml", ".a.toml"), ("a*b*c", "abd"), ("ab*b", "ab"), ("a", "ab")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
