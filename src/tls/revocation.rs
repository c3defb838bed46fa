//! Revocation lists: the client certificates that their authority has revoked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use x509_cert::der::{Decode, Header, Reader, Result, SliceReader, Tag};
use x509_cert::time::Time;

use super::{TlsFault, pem};

#[derive(Debug)]
pub struct Revocation {
    path: PathBuf,
    /// Empty once the verifier has taken the lists.
    pub lists: Vec<CertificateRevocationListDer<'static>>,
    issuers: Vec<Vec<u8>>,
    next_update: Time,
    pub missing: Option<TlsFault>,
}

impl Revocation {
    /// Reads a PEM file with one or more lists. Blocks.
    pub fn load(path: &Path) -> std::result::Result<Revocation, TlsFault> {
        let lists = pem::revocation_lists(path)?;
        let mut issuers = Vec::new();
        let mut earliest: Option<Time> = None;
        for (number, list) in (1..).zip(&lists) {
            let (issuer, next_update) = beginning(list).map_err(|_| {
                let message = format!(
                    "holds a revocation list that is damaged or has no `nextUpdate` (number {number})"
                );
                TlsFault::of(path, message)
            })?;
            issuers.push(issuer.to_owned());
            let seconds = |time: &Time| time.to_unix_duration();
            if earliest.as_ref().is_none_or(|earliest| seconds(&next_update) < seconds(earliest)) {
                earliest = Some(next_update);
            }
        }
        let next_update = earliest.ok_or_else(|| TlsFault::of(path, "holds no revocation list"))?;
        Ok(Revocation { path: path.to_owned(), lists, issuers, next_update, missing: None })
    }

    /// The server refuses all clients of an authority without a list.
    pub fn find_missing(&mut self, authorities: &Path, roots: &RootCertStore) {
        let has_none = |subject: &[u8]| !self.issuers.iter().any(|issuer| issuer == subject);
        let numbers: Vec<String> = (1..)
            .zip(&roots.roots)
            .filter(|(_, root)| has_none(&root.subject))
            .map(|(number, _): (usize, _)| number.to_string())
            .collect();
        if !numbers.is_empty() {
            let message = format!(
                "holds no list of an authority in {} (number {}): all clients of that authority are refused",
                authorities.display(),
                numbers.join(", ")
            );
            let hint = "append the list of each authority, even if it revokes nothing";
            self.missing = Some(TlsFault::of(&self.path, message).hint(hint));
        }
    }

    /// The earliest expiry, since 1970.
    pub fn until(&self) -> Duration {
        self.next_update.to_unix_duration()
    }

    /// How long all lists are still valid. `None` if one has expired.
    pub fn expires_in(&self, now: UnixTime) -> Option<Duration> {
        self.until().checked_sub(Duration::from_secs(now.as_secs())).filter(|left| !left.is_zero())
    }

    pub fn expired(&self, now: UnixTime) -> Option<TlsFault> {
        let until = &self.next_update;
        let fault = || {
            TlsFault::of(&self.path, format!("holds a revocation list that has expired ({until})"))
                .hint("put a new list of its authority there, then reload")
        };
        self.expires_in(now).is_none().then(fault)
    }
}

/// The issuer and `nextUpdate`. Reads no further, because a list may have a million entries.
fn beginning(list: &[u8]) -> Result<(&[u8], Time)> {
    let mut reader = SliceReader::new(list)?;
    // CertificateList and its TBSCertList (RFC 5280, section 5.1).
    Header::decode(&mut reader)?.tag().assert_eq(Tag::Sequence)?;
    Header::decode(&mut reader)?.tag().assert_eq(Tag::Sequence)?;
    if Tag::peek(&reader)? == Tag::Integer {
        reader.tlv_bytes()?; // version
    }
    reader.tlv_bytes()?; // signature algorithm
    let issuer = Header::decode(&mut reader)?;
    let issuer = reader.read_slice(issuer.length())?;
    Time::decode(&mut reader)?; // thisUpdate
    Ok((issuer, Time::decode(&mut reader)?))
}
