//! The text of a configuration file, with line and column of each byte.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::sys::fault::{self, Says};
use crate::sys::{self, Others, files, trust};

/// The largest file to read, in bytes. The limit protects memory from a device or a log named by
/// mistake.
const MAX_BYTES: u64 = 16 << 20;

/// The error for a file of 0 bytes. A full disk leaves such a file, and some editors empty a file
/// before they write it.
pub(super) const EMPTY: &str = "this file is empty, perhaps after a full disk or an interrupted save";
pub(super) const EMPTY_HINT: &str =
    "save it again; a file without services needs a comment, such as `# no services`";

/// UTF-8, or on Unix any bytes.
#[derive(Clone)]
pub struct Source {
    pub path: PathBuf,
    pub text: Zeroizing<Vec<u8>>,
    line_starts: Vec<usize>,
    /// The file was not UTF-8 and was decoded from the system's code page.
    pub code_page: bool,
    /// Empty for text that comes from no file.
    pub trust: Trust,
    /// Parts of the text to mask in messages, in ascending order.
    secrets: Vec<Range<usize>>,
    /// The text shown instead of a secret.
    mask: &'static str,
    pub has_passwords: bool,
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Source({})", self.path.display())
    }
}

#[derive(Debug, Clone, Default)]
pub struct Trust {
    pub(super) writers: Others,
    pub(super) readers: Others,
    pub(super) folders: Vec<(PathBuf, Others)>,
    /// The file's path with all links resolved.
    pub(super) real: Option<PathBuf>,
}

impl Trust {
    /// Inspects the opened file, so that no other file can replace it before the read. Also
    /// inspects the folders on its path.
    pub fn of(file: &File, path: &Path) -> io::Result<Trust> {
        let mut folders: Vec<PathBuf> = Vec::new();
        // For a link two folders matter: the link's folder and its target's.
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

/// A position for people. Both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Source {
    /// Reads a file that another file names, or reads a file again. Refuses a pipe: a read could
    /// wait forever.
    pub fn read(path: &Path) -> io::Result<Source> {
        fault::point("config-open", Says::Descriptors)?;
        Source::read_opened(files::open_regular(path)?, path)
    }

    /// Reads a file that a person names. A pipe is allowed, so a program can supply the text.
    pub fn read_named(path: &Path) -> io::Result<Source> {
        fault::point("config-open", Says::Descriptors)?;
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "this is a directory"));
        }
        Source::read_opened(file, path)
    }

    fn read_opened(file: File, path: &Path) -> io::Result<Source> {
        use std::io::Read;
        let mut bytes = Vec::new();
        let trust = Trust::of(&file, path)?;
        fault::point("config-read", Says::Device)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "larger than 16 MiB: this is not a configuration file",
            ));
        }
        Ok(Source { trust, ..Source::decode(path, bytes) })
    }

    /// Decodes a file: UTF-8 with or without a byte-order mark, or UTF-16 with one. Other bytes are
    /// in the system's code page on Windows; Unix takes them unchanged.
    pub fn decode(path: &Path, bytes: Vec<u8>) -> Source {
        let source = |text: Vec<u8>, code_page| Source { code_page, ..Source::typed(path, text) };
        if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
            return source(rest.to_vec(), false);
        }
        if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
            return source(from_utf16(rest, u16::from_le_bytes), false);
        }
        if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
            return source(from_utf16(rest, u16::from_be_bytes), false);
        }
        if sys::CAPABILITIES.code_page
            && std::str::from_utf8(&bytes).is_err()
            && let Some(text) = sys::text::from_code_page(&bytes)
        {
            return source(text.into_bytes(), true);
        }
        source(bytes, false)
    }

    /// Text from no file, unchanged.
    pub fn typed(name: &Path, text: Vec<u8>) -> Source {
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let line_starts = [0].into_iter().chain(ends.map(|(at, _)| at + 1)).collect();
        let text = Zeroizing::new(text);
        Source {
            path: name.to_owned(),
            text,
            line_starts,
            code_page: false,
            trust: Trust::default(),
            secrets: Vec::new(),
            mask: "",
            has_passwords: false,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a folder to the trust check, because every file in it can be included.
    pub fn count_folder(&mut self, folder: &Path) -> io::Result<()> {
        for found in trust::folder_writers(folder)? {
            if !self.trust.folders.contains(&found) {
                self.trust.folders.push(found);
            }
        }
        Ok(())
    }

    /// The lines without their ends, each with the offset of its first byte.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut start = 0;
        self.text.split(|&byte| byte == b'\n').map(move |line| {
            let at = start;
            start += line.len() + 1;
            (at, line.strip_suffix(b"\r").unwrap_or(line))
        })
    }

    /// Masks these ranges, in ascending order, as `***`. The mask hides their length.
    pub fn hide(&mut self, secrets: Vec<Range<usize>>, has_passwords: bool) {
        (self.secrets, self.mask, self.has_passwords) = (secrets, "***", has_passwords);
    }

    /// Masks all values of a text that does not parse, because any of them may be a password.
    pub fn hide_values(&mut self, values: Vec<Range<usize>>, has_passwords: bool) {
        (self.secrets, self.mask, self.has_passwords) = (values, "…", has_passwords);
    }

    pub fn hides(&self, range: &Range<usize>) -> bool {
        let end = range.end.max(range.start + 1);
        self.secrets.iter().any(|secret| secret.start < end && range.start < secret.end)
    }

    fn shown(&self, part: Range<usize>) -> String {
        let mut shown = String::new();
        let mut at = part.start;
        let first = self.secrets.partition_point(|secret| secret.end <= part.start);
        for secret in self.secrets[first..].iter().take_while(|secret| secret.start < part.end) {
            let (from, to) = (secret.start.max(at), secret.end.min(part.end));
            if from < to {
                shown.push_str(&String::from_utf8_lossy(&self.text[at..from]));
                shown.push_str(self.mask);
                at = to;
            }
        }
        shown.push_str(&String::from_utf8_lossy(&self.text[at..part.end]));
        shown
    }

    pub fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.line_number(offset);
        let before = &self.text[self.line_starts[line - 1]..offset];
        Place { line, column: String::from_utf8_lossy(before).chars().count() + 1 }
    }

    /// The line number of a byte, from 1.
    pub(super) fn line_number(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// The masked line of `range`, and the columns of `range` in it, in characters.
    pub(super) fn cite(&self, range: &Range<usize>) -> (String, Range<usize>) {
        let start = range.start.min(self.text.len());
        let number = self.line_number(start);
        let line_start = self.line_starts[number - 1];
        let line_end = self.line_starts.get(number).map_or(self.text.len(), |next| next - 1);
        let count = |part| self.shown(part).chars().count();
        let from = count(line_start..start);
        let length = count(start..range.end.clamp(start, line_end));
        let line = self.shown(line_start..line_end);
        (line.trim_end_matches('\r').to_owned(), from..from + length.max(1))
    }
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect::<String>()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(Source::decode(Path::new("f"), bytes.to_vec()).text.to_vec()).unwrap()
    }

    #[test]
    fn byte_order_marks_are_understood_and_dropped() {
        assert_eq!(text(b"\xef\xbb\xbf80"), "80");
        assert_eq!(text(b"\xff\xfe8\x000\x00"), "80");
        assert_eq!(text(b"\xfe\xff\x008\x000"), "80");
    }

    #[test]
    fn lines_end_with_lf_or_crlf_or_the_file() {
        let source = Source::decode(Path::new("f"), b"a\r\nb\nc".to_vec());
        assert_eq!(source.lines().collect::<Vec<_>>(), [(0, &b"a"[..]), (3, b"b"), (5, b"c")]);
    }

    #[test]
    fn columns_count_characters() {
        let source = Source::decode(Path::new("f"), "x\nä b".as_bytes().to_vec());
        assert_eq!(source.place(5), Place { line: 2, column: 3 });
    }
}
