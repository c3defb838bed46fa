//! Reads the blocks of an xinetd.conf and of the files that it includes.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::extras::is_harmless;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;
use crate::convert::words::{Span, Word, words};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// `=`
    Set,
    /// `+=`
    Add,
    /// `-=`
    Remove,
}

#[derive(Debug, Clone)]
pub(super) struct Attribute {
    pub name: String,
    pub operator: Operator,
    pub values: Vec<String>,
    pub at: Span,
    /// A `#` follows the values, which may not be what the administrator meant.
    pub commented: bool,
}

/// `service NAME { … }` or `defaults { … }`.
#[derive(Debug)]
pub(super) struct Block {
    pub name: String,
    pub attributes: Vec<Attribute>,
    pub at: Span,
    /// An unmatched `}` comes before the block, so xinetd skips it.
    pub skipped: bool,
}

#[derive(Default)]
pub(super) struct Blocks {
    pub sources: Vec<Source>,
    pub services: Vec<Block>,
    /// The first `defaults` that xinetd does not skip.
    pub defaults: Option<Block>,
    pub findings: Vec<Diagnostic>,
    /// An unmatched `}` was read, and no `}` since.
    skipping: bool,
}

/// The limit for directories that were filled by mistake. Include loops are found earlier.
const MOST_FILES: usize = 1000;

const NO_COMMENTS: &str = "xinetd has no comments after a value: use a separate line";

pub(super) fn read(source: &Source) -> Blocks {
    let mut blocks = Blocks::default();
    let path = whole(&source.path);
    blocks.file(source, &mut vec![path]);
    blocks
}

/// The canonical path, so that each file has one name.
fn whole(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

impl Blocks {
    fn find(
        &mut self,
        severity: Severity,
        source: &Source,
        range: &Range<usize>,
        message: impl Into<String>,
    ) {
        self.findings.push(Diagnostic::at(severity, source, range, message));
    }

    /// `above` holds this file and the files that include it.
    fn file(&mut self, source: &Source, above: &mut Vec<PathBuf>) {
        let index = self.sources.len();
        self.sources.push(source.clone());
        let mut open: Option<(Block, bool)> = None;
        for (start, line) in source.lines() {
            if line.trim_ascii_start().starts_with(b"#") {
                continue;
            }
            let Ok(text) = std::str::from_utf8(line) else {
                let message = "this line is not UTF-8, and a native file has to be";
                self.find(Severity::Error, source, &(start..start + line.len()), message);
                continue;
            };
            let words = words(index, start, text);
            let Some(first) = words.first() else { continue };
            let range = first.start..words[words.len() - 1].range().end;
            let at = Span { source: index, range: range.clone() };
            match open.take() {
                Some((block, true)) if words.len() == 1 && first.text == "}" => self.end(block, source),
                Some((mut block, true)) => {
                    match attribute(text, start, &at) {
                        Some(attribute) => {
                            block.attributes.push(self.without_comment(attribute, &words, source));
                        }
                        None => self.expected("an attribute was expected here: name = value", &words, source),
                    }
                    open = Some((block, true));
                }
                Some((block, false)) if words.len() == 1 && first.text == "{" => open = Some((block, true)),
                Some((block, false)) => {
                    self.expected("{ was expected here, on a line of its own", &words, source);
                    open = Some((block, true));
                }
                None => open = self.outside(&words, &at, source, above),
            }
        }
        if let Some((block, _)) = open {
            self.find(
                Severity::Error,
                source,
                &block.at.range,
                "this block has no end: } on a line of its own",
            );
        }
    }

    /// Reports an error in a line. Its usual cause is a comment after something else.
    fn expected(&mut self, what: &str, words: &[Word<'_>], source: &Source) {
        let (first, last) = (words[0], words[words.len() - 1]);
        let (range, message) = match words.iter().find(|word| word.text.starts_with('#')) {
            Some(comment) => (comment.start..last.range().end, format!("{what}; {NO_COMMENTS}")),
            None => (first.start..last.range().end, what.to_owned()),
        };
        self.find(Severity::Error, source, &range, message);
    }

    /// Warns about a `#` after values. xinetd refuses such values, or takes them all.
    fn without_comment(&mut self, attribute: Attribute, words: &[Word<'_>], source: &Source) -> Attribute {
        let Some(number) = attribute.values.iter().position(|value| value.starts_with('#')) else {
            return attribute;
        };
        let name = &attribute.name;
        let what = match name.as_str() {
            "server_args" => "this is passed to the program".to_owned(),
            name if is_harmless(name) => "this is left out".to_owned(),
            _ => "the services with this attribute are switched off".to_owned(),
        };
        let behind = words.iter().find(|word| word.text.trim_start_matches(['+', '-', '=']).starts_with('#'));
        let start = behind.map_or(attribute.at.range.start, |word| word.start);
        let message = format!("{NO_COMMENTS}; {what}");
        self.find(Severity::Warning, source, &(start..attribute.at.range.end), message);
        if name == "server_args" {
            return attribute;
        }
        let values = attribute.values[..number].to_vec();
        Attribute { values, commented: !is_harmless(name), ..attribute }
    }

    /// Handles a line outside all blocks. Returns the block that it begins.
    fn outside(
        &mut self,
        words: &[Word<'_>],
        at: &Span,
        source: &Source,
        above: &mut Vec<PathBuf>,
    ) -> Option<(Block, bool)> {
        let texts: Vec<&str> = words.iter().map(|word| word.text).collect();
        let skipped = self.skipping;
        let block =
            |name: &str| Block { name: name.to_owned(), attributes: Vec::new(), at: at.clone(), skipped };
        match texts[..] {
            ["}"] => {
                let message = "this } ends no block: xinetd skips what is between it and the next }";
                self.find(Severity::Warning, source, &at.range, message);
                self.skipping = true;
            }
            ["include" | "includedir", _] if skipped => {
                let message = "not read: xinetd skips this line, since a } above it ends no block";
                self.find(Severity::Warning, source, &at.range, message);
            }
            ["service", name] => return Some((block(name), false)),
            ["service", name, "{"] => return Some((block(name), true)),
            ["defaults"] => return Some((block(""), false)),
            ["defaults", "{"] => return Some((block(""), true)),
            ["include", path] => self.include(&beside(source, path), &words[1].range(), source, above),
            ["includedir", path] => self.folder(&beside(source, path), &words[1].range(), source, above),
            _ => self.expected(
                "service NAME, defaults, include or includedir was expected here",
                words,
                source,
            ),
        }
        None
    }

    fn end(&mut self, block: Block, source: &Source) {
        self.skipping = false;
        if !block.name.is_empty() {
            self.services.push(block);
        } else if block.skipped {
            let message = "xinetd skips these defaults, since a } above them ends no block: \
                their restrictions do not hold";
            self.find(Severity::Warning, source, &block.at.range, message);
        } else if self.defaults.is_none() {
            self.defaults = Some(block);
        } else {
            let message = "these defaults are not used: there are some already";
            self.find(Severity::Warning, source, &block.at.range, message);
        }
    }

    fn include(&mut self, path: &Path, range: &Range<usize>, source: &Source, above: &mut Vec<PathBuf>) {
        let name = whole(path);
        if above.contains(&name) || self.sources.len() >= MOST_FILES {
            self.find(
                Severity::Error,
                source,
                range,
                "not read: this file includes itself, or is one of too many",
            );
            return;
        }
        match Source::read(path) {
            Ok(included) => {
                above.push(name);
                self.file(&included, above);
                above.pop();
            }
            Err(error) => {
                // The file may restrict every service.
                self.find(Severity::Error, source, range, format!("not read: {}: {error}", path.display()));
            }
        }
    }

    /// Skips files that editors and package managers leave behind.
    fn folder(&mut self, path: &Path, range: &Range<usize>, source: &Source, above: &mut Vec<PathBuf>) {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("not read: {}: {error}", path.display());
                return self.find(Severity::Error, source, range, message);
            }
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.contains('.') && !name.ends_with('~'))
            .collect();
        names.sort();
        for file in names.iter().map(|name| path.join(name)).filter(|file| file.is_file()) {
            self.include(&file, range, source, above);
        }
    }
}

fn beside(source: &Source, path: &str) -> PathBuf {
    source.path.parent().unwrap_or_else(|| Path::new("")).join(path)
}

fn attribute(text: &str, start: usize, at: &Span) -> Option<Attribute> {
    let equals = text.find('=')?;
    let (name, operator) = match text.as_bytes()[..equals].last() {
        Some(b'+') => (&text[..equals - 1], Operator::Add),
        Some(b'-') => (&text[..equals - 1], Operator::Remove),
        _ => (&text[..equals], Operator::Set),
    };
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let values =
        words(at.source, start, &text[equals + 1..]).iter().map(|word| word.text.to_owned()).collect();
    Some(Attribute { name: name.to_owned(), operator, values, at: at.clone(), commented: false })
}
