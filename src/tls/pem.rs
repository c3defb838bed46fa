//! Files in PEM: what is in them, or what a person has put there instead.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::TlsFault;
use crate::sys::fault::{self, Says};
use crate::sys::files;

/// No file of certificates is larger: all public authorities together have a
/// quarter of a mebibyte. What is larger is a mistake, and need not be read.
const LARGEST: u64 = 4 << 20;

/// A revocation list of a large authority has some hundred thousand entries of
/// about 40 bytes.
const LARGEST_LIST: u64 = 32 << 20;

const CERTIFICATE: &str = "CERTIFICATE";
const LIST: &str = "X509 CRL";

/// All certificates of a file; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let text = read(path, LARGEST, "certificates")?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(plain(&text)).collect();
    let found = found.map_err(|error| damaged(path, &error))?;
    if found.is_empty() {
        return Err(nothing(path, &text, "certificate", CERTIFICATE));
    }
    Ok(found)
}

/// All revocation lists of a file; at least one.
pub fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFault> {
    let text = read(path, LARGEST_LIST, "revocation lists")?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(plain(&text)).collect();
    let found = found.map_err(|error| damaged(path, &error))?;
    if found.is_empty() {
        return Err(nothing(path, &text, "revocation list", LIST));
    }
    Ok(found)
}

/// The private key of a file; the first, if it has several.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let text = read(path, LARGEST, "a private key")?;
    if is_encrypted(&text) {
        let name = path.display();
        return Err(TlsFault::of(
            path,
            "holds an encrypted private key, and there is nobody to ask for its password",
        )
        .hint(format!(
            "openssl pkey -in {name} -out {name}.plain, which only the server's account may read"
        )));
    }
    match PrivateKeyDer::from_pem_slice(plain(&text)) {
        Ok(key) => Ok(key),
        Err(Error::NoItemsFound) => Err(nothing(path, &text, "private key", "PRIVATE KEY")),
        Err(error) => Err(damaged(path, &error)),
    }
}

/// What the sections of a file say they are.
pub struct Held {
    pub certificate: bool,
    pub key: bool,
}

/// What a file holds, if it can be read, whether that can be used or not.
pub fn held(path: &Path) -> Option<Held> {
    let text = read(path, LARGEST, "certificates or keys").ok()?;
    let labels = labels(&text);
    let key = labels.iter().any(|label| label.ends_with("PRIVATE KEY"));
    Some(Held { certificate: labels.contains(&CERTIFICATE), key })
}

/// The bytes of a file, which may be a private key; `largest` bytes at most. `kind` is what
/// the file is to hold.
fn read(path: &Path, largest: u64, kind: &str) -> Result<Zeroizing<Vec<u8>>, TlsFault> {
    let unreadable = |error: io::Error| {
        let fault = TlsFault::of(path, format!("can't be read: {error}"));
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
    // As large as it has to be at once: a buffer that grows leaves copies of a key.
    let room = usize::try_from(length.min(largest)).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(largest + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > largest) {
        return Err(TlsFault::of(path, format!("is too large for {kind}")));
    }
    Ok(bytes)
}

/// Without the mark that editors on Windows begin a file with.
fn plain(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// What the sections of a file say they are.
fn labels(bytes: &[u8]) -> Vec<&str> {
    let lines = plain(bytes).split(|&byte| byte == b'\n' || byte == b'\r');
    let labels = lines.filter_map(|line| {
        let label = line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
        std::str::from_utf8(label).ok()
    });
    // Nothing else of the file is shown to anybody.
    let known = |label: &&str| {
        label.len() <= 32 && label.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ')
    };
    labels.filter(known).collect()
}

/// In the form of PKCS#8, or in OpenSSL's own of before.
fn is_encrypted(bytes: &[u8]) -> bool {
    let own = b"Proc-Type: 4,ENCRYPTED";
    labels(bytes).contains(&"ENCRYPTED PRIVATE KEY") || bytes.windows(own.len()).any(|part| part == own)
}

fn damaged(path: &Path, error: &Error) -> TlsFault {
    // (Not the error itself: it may quote the file, which may be a key.)
    let message = match error {
        Error::MissingSectionEnd { .. } => "ends in the middle of a section",
        Error::IllegalSectionStart { .. } => "has a BEGIN line that does not end in five hyphens",
        Error::Base64Decode(_) => "has a section that is not base64",
        _ => "is damaged",
    };
    TlsFault::of(path, message).hint("a copy that was cut off or changed? Take it from its source again")
}

/// Says what is in a file instead of what was wanted.
fn nothing(path: &Path, bytes: &[u8], wanted: &str, label: &str) -> TlsFault {
    let name = path.display();
    let pem = format!("it has to be in PEM, which begins with -----BEGIN {label}-----");
    match plain(bytes) {
        [] => TlsFault::of(path, "is empty"),
        text if text.iter().all(u8::is_ascii_whitespace) => TlsFault::of(path, "is empty"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            TlsFault::of(path, "is in UTF-16").hint("save it as plain text, in ASCII or UTF-8")
        }
        // A sequence that begins with the number 3.
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
