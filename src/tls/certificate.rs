//! What a certificate says, as text for programs and people.

use std::fmt::Write;

use ring::digest::{SHA256, digest};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::time::Time;

/// A longer subject is not told. (Not a part of it either: what begins like
/// another's name is not that name.)
const LONGEST_SUBJECT: usize = 1024;

/// The subject as RFC 4514 writes it, without any control character.
pub fn subject(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let written = certificate.tbs_certificate().subject().to_string();
    let mut subject = String::with_capacity(written.len());
    for character in written.chars() {
        if character.is_control() {
            // As the same RFC lets any byte be written.
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(subject, "\\{byte:02x}");
            }
        } else {
            subject.push(character);
        }
    }
    (subject.len() <= LONGEST_SUBJECT).then_some(subject)
}

/// The hash by which a certificate can be pinned, as libtls writes it.
pub fn hash(der: &[u8]) -> String {
    let mut hash = "SHA256:".to_owned();
    for byte in digest(&SHA256, der).as_ref() {
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

/// From when until when it holds.
pub fn validity(der: &[u8]) -> Option<(Time, Time)> {
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some((validity.not_before, validity.not_after))
}
