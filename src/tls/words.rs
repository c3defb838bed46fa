//! Errors as text for records: one line of limited length for any client input.

use rustls::{CertRevocationListError, CertificateError, Error, PeerIncompatible};

/// In characters.
const LONGEST: usize = 200;

pub fn of(error: &Error) -> String {
    bounded(&match error {
        Error::InvalidMessage(what) => format!("the client did not send TLS ({what:?})"),
        Error::NoCertificatesPresented => "the client has no certificate".to_owned(),
        Error::InvalidCertificate(_) => {
            format!("the client's certificate is not accepted ({})", of_certificate(error))
        }
        Error::InvalidCertRevocationList(what) => {
            format!("the client's certificate is not accepted (a list in `crl` {})", of_revocation_list(what))
        }
        Error::AlertReceived(alert) => format!("the client gave up ({alert:?})"),
        Error::DecryptError => "what the client sent was changed on its way".to_owned(),
        // Current clients always send the extension, and older ones never do.
        Error::PeerIncompatible(
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "the client offers neither TLS 1.2 nor TLS 1.3".to_owned(),
        Error::PeerIncompatible(what) => {
            format!("the client and the server share no version or cipher ({what:?})")
        }
        other => other.to_string(),
    })
}

pub fn of_certificate(error: &Error) -> String {
    bounded(&match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "of an unknown issuer".to_owned(),
        Error::InvalidCertificate(CertificateError::Revoked) => "revoked by its authority".to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) => {
            "no list in `crl` covers its issuer".to_owned()
        }
        Error::InvalidCertificate(CertificateError::BadEncoding) => "badly encoded".to_owned(),
        Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => "not made for this purpose".to_owned(),
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "not signed by the authority that it names".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.to_string().as_str() {
            // rustls names the error only in its text.
            "UnsupportedCertVersion" => "of X.509 version 1, where version 3 is needed".to_owned(),
            words => words.to_owned(),
        },
        Error::InvalidCertificate(what) => what.to_string(),
        other => other.to_string(),
    })
}

/// The end of a sentence that begins with the path and the list.
pub fn of_revocation_list(error: &CertRevocationListError) -> String {
    bounded(&match error {
        CertRevocationListError::BadSignature => "is not signed by the authority that it names".to_owned(),
        CertRevocationListError::IssuerInvalidForCrl => {
            "is of an authority whose certificate does not allow it to sign lists (key usage cRLSign)"
                .to_owned()
        }
        CertRevocationListError::ParseError => "is badly encoded".to_owned(),
        CertRevocationListError::Other(other) => format!("is badly encoded ({})", other.0),
        CertRevocationListError::UnsupportedCrlVersion => "is not of version 2".to_owned(),
        CertRevocationListError::UnsupportedDeltaCrl => {
            "is a delta CRL; a complete list is needed".to_owned()
        }
        CertRevocationListError::UnsupportedIndirectCrl => {
            "is about certificates of other authorities (an indirect CRL); each authority needs its own"
                .to_owned()
        }
        other => format!("cannot be used ({other:?})"),
    })
}

fn bounded(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(LONGEST).collect()
}
