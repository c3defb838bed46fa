//! Words of a line with their places, and addresses among them.

use std::net::IpAddr;
use std::ops::Range;

use crate::config::zeros::without_leading_zeros;

/// A word of a line, with its place in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    /// The byte that it begins at.
    pub start: usize,
    /// The word.
    pub text: &'a str,
}

impl Word<'_> {
    /// Its place.
    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }
}

/// The words of a line that begins at the byte `start`.
pub(super) fn words(start: usize, line: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    for text in line.split(|letter: char| letter.is_ascii_whitespace()) {
        if !text.is_empty() {
            found.push(Word { start: start + at, text });
        }
        at += text.len() + 1;
    }
    found
}

/// Why a word that is to be an address is none.
pub(super) fn no_address(host: &str) -> String {
    match without_leading_zeros(host) {
        Some(plain) => format!(
            "{host} has a number with a leading zero, which programs read as octal or decimal: write {plain} if that is meant"
        ),
        None => format!("{host} is no address; a name would have to be looked up at each start"),
    }
}

/// Addresses separated by commas; `*` is all of them, an empty list. An IPv4 address in
/// IPv6's form is that: no socket for IPv6 takes its clients here.
pub(super) fn listed(hosts: &str) -> Result<Vec<IpAddr>, &str> {
    let mut found = Vec::new();
    for host in hosts.split(',') {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare {
            "*" => return Ok(Vec::new()),
            "localhost" => {
                found.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
            }
            _ => found.push(bare.parse::<IpAddr>().map_err(|_| host)?.to_canonical()),
        }
    }
    Ok(found)
}
