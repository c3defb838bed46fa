//! Subject, hash and validity of a certificate, for programs and people.

use std::fmt::Write;

use ring::digest::{SHA256, digest};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::time::Time;

/// A longer subject is dropped, not truncated: its beginning could be the name of another client.
const LONGEST_SUBJECT: usize = 1024;

/// The subject in the form of RFC 4514, with control characters escaped.
pub fn subject(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let written = certificate.tbs_certificate().subject().to_string();
    let mut subject = String::with_capacity(written.len());
    for character in written.chars() {
        if character.is_control() {
            // RFC 4514 allows any byte to be escaped in hexadecimal.
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(subject, "\\{byte:02x}");
            }
        } else {
            subject.push(character);
        }
    }
    (subject.len() <= LONGEST_SUBJECT).then_some(subject)
}

/// The hash for pinning the certificate, in the form of libtls.
pub fn hash(der: &[u8]) -> String {
    let mut hash = "SHA256:".to_owned();
    for byte in digest(&SHA256, der).as_ref() {
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

pub fn validity(der: &[u8]) -> Option<(Time, Time)> {
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some((validity.not_before, validity.not_after))
}
