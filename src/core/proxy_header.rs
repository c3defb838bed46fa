//! The PROXY protocol, versions 1 and 2. The parser never asks for a byte beyond the header,
//! because the server cannot push bytes back into a socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// In bytes. The specification allows 107 for version 1 and 65551 for version 2.
pub const LONGEST: usize = 4096;

const LONGEST_LINE: usize = 107;
/// `PROXY UNKNOWN` and CRLF, in bytes.
const SHORTEST: usize = 15;

const UNKNOWN: &[u8] = b"PROXY UNKNOWN";
const TCP4: &[u8] = b"PROXY TCP4 ";
const TCP6: &[u8] = b"PROXY TCP6 ";

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 up to and including the length field.
const FIXED: usize = 16;
/// PP2_TYPE_CRC32C.
const CRC32C: u8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The caller may read this many bytes at once, up to [`LONGEST`] in all.
    More(usize),
    /// The header is complete, and is exactly these bytes.
    Done(Named),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The peer speaks for itself or for a client without an internet address (LOCAL, UNKNOWN,
    /// UNSPEC and AF_UNIX).
    Peer,
    /// IPv4-mapped addresses become IPv4, so the two addresses can differ in family.
    Client {
        client: SocketAddr,
        /// The address that the client connected to.
        local: SocketAddr,
    },
}

/// The reason quotes no byte of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// Takes all bytes since the start of the connection. Fails at the first byte that fits no
/// header.
pub fn read(bytes: &[u8]) -> Result<Progress, Malformed> {
    match bytes.first() {
        None => Ok(Progress::More(SHORTEST)),
        Some(b'P') => text(bytes),
        Some(b'\r') => binary(bytes),
        Some(_) => Err(Malformed("it is no PROXY header")),
    }
}

/// A header of version 1. It is `UNKNOWN` unless both addresses have the same family.
pub fn line(client: Option<SocketAddr>, local: Option<SocketAddr>) -> String {
    if let (Some(client), Some(local)) = (client, local) {
        let (from, to) = (client.ip().to_canonical(), local.ip().to_canonical());
        if from.is_ipv4() == to.is_ipv4() {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            return format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port());
        }
    }
    "PROXY UNKNOWN\r\n".to_owned()
}

fn text(bytes: &[u8]) -> Result<Progress, Malformed> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let (line, ending) = bytes.split_at(end);
    // Only a whole CRLF ends the line, and no byte may follow it.
    if !b"\r\n".starts_with(ending) {
        return Err(Malformed("its line does not end with CRLF"));
    }
    let whole = !ending.is_empty();
    let (named, least) = if let Some(words) = line.strip_prefix(TCP4) {
        addresses::<Ipv4Addr>(words, whole, 7, |byte| byte.is_ascii_digit() || byte == b'.')?
    } else if let Some(words) = line.strip_prefix(TCP6) {
        addresses::<Ipv6Addr>(words, whole, 2, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))?
    } else if let Some(ignored) = line.strip_prefix(UNKNOWN) {
        if !matches!(ignored.first(), None | Some(b' ')) {
            return Err(Malformed("its protocol is not TCP4, TCP6 or UNKNOWN"));
        }
        (Named::Peer, 0)
    } else {
        return beginning(line, whole);
    };
    let more = match ending.len() {
        0 => least + 2,
        1 => 1,
        _ => 0,
    };
    if bytes.len() + more > LONGEST_LINE {
        return Err(Malformed("its line is longer than 107 bytes"));
    }
    Ok(if more == 0 { Progress::Done(named) } else { Progress::More(more) })
}

fn beginning(line: &[u8], whole: bool) -> Result<Progress, Malformed> {
    // TCP6 and TCP4 with unspecified addresses.
    let possible = [(UNKNOWN, SHORTEST), (TCP6, 22), (TCP4, 32)];
    let shortest = possible.iter().find(|(begins, _)| begins.starts_with(line));
    match shortest {
        Some((_, shortest)) if !whole => Ok(Progress::More(shortest - line.len())),
        _ if !b"PROXY ".starts_with(&line[..line.len().min(6)]) => Err(Malformed("it is no PROXY header")),
        _ => Err(Malformed("its protocol is not TCP4, TCP6 or UNKNOWN")),
    }
}

/// Parses the addresses and ports so far. Also returns the minimum number of missing bytes. An
/// address has at least `shortest` bytes, all `letters`.
fn addresses<Ip: FromStr + Into<IpAddr>>(
    words: &[u8],
    whole: bool,
    shortest: usize,
    letters: impl Fn(u8) -> bool,
) -> Result<(Named, usize), Malformed> {
    let shortest = [shortest, shortest, 1, 1];
    let words: Vec<&[u8]> = words.split(|&byte| byte == b' ').collect();
    let (mut ips, mut ports) = ([None; 2], [None; 2]);
    for (at, word) in words.iter().enumerate() {
        let complete = whole || at + 1 < words.len();
        match at {
            0 | 1 => {
                ips[at] = parsed::<Ip>(word).map(Into::into);
                let begins = !complete && word.iter().all(|&byte| letters(byte));
                if ips[at].is_none() && !begins {
                    return Err(Malformed("an address has another family"));
                }
            }
            2 | 3 => {
                ports[at - 2] = port(word);
                // Every prefix of a port is a port.
                let begins = !complete && word.is_empty();
                if ports[at - 2].is_none() && !begins {
                    return Err(Malformed("a port is not a number up to 65535"));
                }
            }
            _ => return Err(Malformed("something follows its ports")),
        }
    }
    if let ([Some(from), Some(to)], [Some(from_port), Some(to_port)]) = (ips, ports) {
        return Ok((named(from, from_port, to, to_port), 0));
    }
    if whole {
        return Err(Malformed("an address or a port is missing"));
    }
    let (begun, last) = (words.len(), words.last().map_or(0, |word| word.len()));
    let missing: usize = shortest[begun..].iter().map(|shortest| 1 + shortest).sum();
    Ok((Named::Peer, shortest[begun - 1].saturating_sub(last) + missing))
}

fn parsed<T: FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A port in decimal digits, without leading zeros.
fn port(word: &[u8]) -> Option<u16> {
    let plain = word.iter().all(u8::is_ascii_digit) && (word.len() == 1 || word.first() != Some(&b'0'));
    if plain { parsed(word) } else { None }
}

fn named(from: IpAddr, from_port: u16, to: IpAddr, to_port: u16) -> Named {
    let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    Named::Client { client: address(from, from_port), local: address(to, to_port) }
}

#[derive(Clone, Copy)]
enum AddressBlock {
    /// Skipped without parsing.
    Ignored,
    Inet,
    Inet6,
    Unix,
}

impl AddressBlock {
    fn least(self) -> usize {
        match self {
            AddressBlock::Ignored => 0,
            AddressBlock::Inet => 12,
            AddressBlock::Inet6 => 36,
            AddressBlock::Unix => 216,
        }
    }
}

fn binary(bytes: &[u8]) -> Result<Progress, Malformed> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(Malformed("it is no PROXY header"));
    }
    let command = bytes.get(12).copied().unwrap_or(0x20);
    if command >> 4 != 2 {
        return Err(Malformed("its version is not 2"));
    }
    if !matches!(command & 0x0f, 0 | 1) {
        return Err(Malformed("its command is neither LOCAL nor PROXY"));
    }
    let family = bytes.get(13).copied().unwrap_or(0);
    let block = if command & 0x0f == 0 { AddressBlock::Ignored } else { block(family)? };
    let Some(&[high, low]) = bytes.get(14..FIXED) else {
        return Ok(Progress::More(FIXED - bytes.len()));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < block.least() {
        return Err(Malformed("it is shorter than its addresses"));
    }
    if FIXED + length > LONGEST {
        return Err(Malformed("it is longer than 4096 bytes"));
    }
    match (FIXED + length).checked_sub(bytes.len()) {
        None => Err(Malformed("something follows it")),
        Some(0) => complete(bytes, block).map(Progress::Done),
        Some(more) => Ok(Progress::More(more)),
    }
}

fn block(family: u8) -> Result<AddressBlock, Malformed> {
    match (family >> 4, family & 0x0f) {
        (4.., _) => Err(Malformed("its family is unknown")),
        (_, 2) => Err(Malformed("it is for datagrams")),
        (_, 3..) => Err(Malformed("its protocol is unknown")),
        (1, 1) => Ok(AddressBlock::Inet),
        (2, 1) => Ok(AddressBlock::Inet6),
        (3, 1) => Ok(AddressBlock::Unix),
        // The format and length of the addresses are unknown.
        _ => Ok(AddressBlock::Ignored),
    }
}

fn complete(header: &[u8], block: AddressBlock) -> Result<Named, Malformed> {
    let mut rest = &header[FIXED..];
    let found = match block {
        AddressBlock::Ignored => return Ok(Named::Peer),
        AddressBlock::Unix => Named::Peer,
        AddressBlock::Inet => {
            let (from, to) = (taken::<4>(&mut rest)?, taken::<4>(&mut rest)?);
            two_ports(from.into(), to.into(), &mut rest)?
        }
        AddressBlock::Inet6 => {
            let (from, to) = (taken::<16>(&mut rest)?, taken::<16>(&mut rest)?);
            two_ports(from.into(), to.into(), &mut rest)?
        }
    };
    extensions(header, FIXED + block.least())?;
    Ok(found)
}

fn two_ports(from: IpAddr, to: IpAddr, rest: &mut &[u8]) -> Result<Named, Malformed> {
    let (from_port, to_port) = (taken(rest)?, taken(rest)?);
    Ok(named(from, u16::from_be_bytes(from_port), to, u16::from_be_bytes(to_port)))
}

fn taken<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (first, others) = rest.split_first_chunk().ok_or(Malformed("an extension is cut off"))?;
    *rest = others;
    Ok(*first)
}

/// A checksum must be right. Other extensions are skipped.
fn extensions(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    let mut sum = None;
    while at < header.len() {
        let mut rest = &header[at..];
        let [kind, high, low] = taken(&mut rest)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > rest.len() {
            return Err(Malformed("an extension is cut off"));
        }
        if kind == CRC32C && (length != 4 || sum.replace(at + 3).is_some()) {
            return Err(Malformed("its checksum does not have 4 bytes"));
        }
        at += 3 + length;
    }
    let Some(sum) = sum else { return Ok(()) };
    let (before, mut after) = header.split_at(sum);
    let told = u32::from_be_bytes(taken(&mut after)?);
    // The checksum is computed with its own field set to zero.
    let made = !crc32c(crc32c(crc32c(!0, before), &[0; 4]), after);
    if told == made { Ok(()) } else { Err(Malformed("its checksum is wrong")) }
}

/// Updates a CRC32C (Castagnoli polynomial, least significant bit first).
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0x82f6_3b78 * (sum & 1)))
    })
}

#[cfg(test)]
#[path = "proxy_header_tests.rs"]
mod tests;
