//! Reads PEM files, and recognizes common mistakes in them.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::TlsFault;
use crate::sys::fault::{self, Says};
use crate::sys::files;

/// In bytes. All public authorities together take a quarter of a MiB.
const LARGEST: u64 = 4 << 20;

/// In bytes. A large authority revokes some hundred thousand certificates, about 40 bytes each.
const LARGEST_LIST: u64 = 32 << 20;

const CERTIFICATE: &str = "CERTIFICATE";
const LIST: &str = "X509 CRL";

pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let text = read(path, LARGEST, "certificates")?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(plain(&text)).collect();
    let found = found.map_err(|error| damaged(path, &error))?;
    if found.is_empty() {
        return Err(nothing(path, &text, "certificate", CERTIFICATE));
    }
    Ok(found)
}

pub fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFault> {
    let text = read(path, LARGEST_LIST, "revocation lists")?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(plain(&text)).collect();
    let found = found.map_err(|error| damaged(path, &error))?;
    if found.is_empty() {
        return Err(nothing(path, &text, "revocation list", LIST));
    }
    Ok(found)
}

/// The first key of the file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let text = read(path, LARGEST, "a private key")?;
    if is_encrypted(&text) {
        let name = path.display();
        return Err(TlsFault::of(
            path,
            "holds an encrypted private key, and the server cannot ask for its password",
        )
        .hint(format!(
            "openssl pkey -in {name} -out {name}.plain, and let only the server's account read it"
        )));
    }
    match PrivateKeyDer::from_pem_slice(plain(&text)) {
        Ok(key) => Ok(key),
        Err(Error::NoItemsFound) => Err(nothing(path, &text, "private key", "PRIVATE KEY")),
        Err(error) => Err(damaged(path, &error)),
    }
}

pub struct Held {
    pub certificate: bool,
    pub key: bool,
}

/// Which sections the file has, valid or not.
pub fn held(path: &Path) -> Option<Held> {
    let text = read(path, LARGEST, "certificates or keys").ok()?;
    let labels = labels(&text);
    let key = labels.iter().any(|label| label.ends_with("PRIVATE KEY"));
    Some(Held { certificate: labels.contains(&CERTIFICATE), key })
}

/// The buffer is zeroed on drop, because it may hold a private key.
fn read(path: &Path, largest: u64, kind: &str) -> Result<Zeroizing<Vec<u8>>, TlsFault> {
    let unreadable = |error: io::Error| {
        let fault = TlsFault::of(path, format!("cannot be read: {error}"));
        match error.kind() {
            ErrorKind::NotFound => fault.hint("a relative path counts from the folder of the configuration"),
            ErrorKind::PermissionDenied => fault.hint("the server's own account must be able to read it"),
            _ if files::is_no_file(&error) => fault,
            _ => TlsFault { may_heal: true, ..fault },
        }
    };
    let file = fault::point("key-open", Says::Descriptors)
        .and_then(|()| files::open_regular(path))
        .map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    // The buffer never grows, because growth would leave copies of a key in memory.
    let capacity = usize::try_from(length.min(largest)).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(largest + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > largest) {
        return Err(TlsFault::of(path, format!("is too large for {kind}")));
    }
    Ok(bytes)
}

/// Strips the byte order mark that Windows editors write.
fn plain(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn labels(bytes: &[u8]) -> Vec<&str> {
    let lines = plain(bytes).split(|&byte| byte == b'\n' || byte == b'\r');
    let labels = lines.filter_map(|line| {
        let label = line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
        std::str::from_utf8(label).ok()
    });
    // Messages quote only these labels, never other contents of the file.
    let known = |label: &&str| {
        label.len() <= 32 && label.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ')
    };
    labels.filter(known).collect()
}

/// In PKCS#8 or in OpenSSL's traditional format.
fn is_encrypted(bytes: &[u8]) -> bool {
    let own = b"Proc-Type: 4,ENCRYPTED";
    labels(bytes).contains(&"ENCRYPTED PRIVATE KEY") || bytes.windows(own.len()).any(|part| part == own)
}

fn damaged(path: &Path, error: &Error) -> TlsFault {
    // The error itself may quote the file, which may hold a key.
    let message = match error {
        Error::MissingSectionEnd { .. } => "ends in the middle of a section",
        Error::IllegalSectionStart { .. } => "has a BEGIN line that does not end in five hyphens",
        Error::Base64Decode(_) => "has a section that is not base64",
        _ => "is damaged",
    };
    TlsFault::of(path, message).hint("was the copy cut off or changed? Copy it again from its source")
}

fn nothing(path: &Path, bytes: &[u8], wanted: &str, label: &str) -> TlsFault {
    let name = path.display();
    let pem = format!("it must be in PEM, which begins with -----BEGIN {label}-----");
    match plain(bytes) {
        [] => TlsFault::of(path, "is empty"),
        text if text.iter().all(u8::is_ascii_whitespace) => TlsFault::of(path, "is empty"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            TlsFault::of(path, "is in UTF-16").hint("save it as plain text, in ASCII or UTF-8")
        }
        // A PFX is a sequence that starts with version 3 (RFC 7292).
        [0x30, 0x82, _, _, 0x02, 0x01, 0x03, ..] => TlsFault::of(path, "is in PKCS#12, not in PEM").hint(format!(
            "openssl pkcs12 -in {name} -nokeys -out cert.pem, and: openssl pkcs12 -in {name} -nocerts -noenc \
             -out key.pem"
        )),
        [0x30, 0x81..=0x84, ..] => TlsFault::of(path, "is in DER, not in PEM").hint(match label {
            CERTIFICATE => format!("openssl x509 -in {name} -inform DER -out {name}.pem"),
            LIST => format!("openssl crl -in {name} -inform DER -out {name}.pem"),
            _ => format!("openssl pkey -in {name} -inform DER -out {name}.pem"),
        }),
        text => match labels(text).first() {
            None => TlsFault::of(path, format!("holds no {wanted}")).hint(pem),
            Some(other) => {
                let other = match *other {
                    CERTIFICATE => "a certificate".to_owned(),
                    LIST => "a revocation list".to_owned(),
                    "PUBLIC KEY" => "a public key".to_owned(),
                    "CERTIFICATE REQUEST" => "a request for a certificate".to_owned(),
                    key if key.ends_with("PRIVATE KEY") && key != "OPENSSH PRIVATE KEY" => {
                        "a private key".to_owned()
                    }
                    other => format!("`{other}`"),
                };
                TlsFault::of(path, format!("holds {other} and no {wanted}")).hint(pem)
            }
        },
    }
}
