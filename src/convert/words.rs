//! The words of a line with their locations, and addresses among them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::config::zeros::without_leading_zeros;

pub(super) const ALL_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub(super) const ALL_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// The index of the file among the sources.
    pub source: usize,
    pub range: Range<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    source: usize,
    pub start: usize,
    pub text: &'a str,
}

impl Word<'_> {
    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    pub(super) fn span(&self) -> Span {
        Span { source: self.source, range: self.range() }
    }
}

/// The words of a line that begins at the byte `start` of this source.
pub(super) fn words(source: usize, start: usize, line: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    for text in line.split(|letter: char| letter.is_ascii_whitespace()) {
        if !text.is_empty() {
            found.push(Word { source, start: start + at, text });
        }
        at += text.len() + 1;
    }
    found
}

pub(super) fn no_address(host: &str) -> String {
    match without_leading_zeros(host) {
        Some(plain) => format!(
            "{host} has a number with a leading zero, which programs read as octal or decimal: write {plain} if that is meant"
        ),
        None => format!("{host} is not an address; host names are not looked up"),
    }
}

/// Addresses separated by commas. `*` gives an empty list. An IPv4-mapped address becomes IPv4,
/// because the server's IPv6 sockets take no IPv4 clients.
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
