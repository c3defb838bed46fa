//! Which files load, and the messages for all others.

use std::path::Path;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use testkit::tls::Pair;
use testkit::tls::rcgen::{self, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::*;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path()).server("localhost").write(folder.path());
    folder
}

fn load(folder: &Path) -> Result<Keys, TlsFault> {
    Keys::load(&files(folder))
}

fn files(folder: &Path) -> Tls {
    let path = |name: &str| folder.join(name);
    Tls {
        certificate: path("cert.pem"),
        key: path("key.pem"),
        client_ca: Some(path("ca.pem")).filter(|path| path.exists()),
        crl: Some(path("crl.pem")).filter(|path| path.exists()),
    }
}

/// The fault after one file of a valid folder is replaced.
fn fault(name: &str, bytes: impl AsRef<[u8]>) -> TlsFault {
    let folder = folder();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    let fault = load(folder.path()).unwrap_err();
    let whole = format!("{fault} {:?}", fault.hint);
    assert!(!whole.contains(char::is_control), "{whole:?}");
    assert!(fault.to_string().starts_with(&fault.path.display().to_string()));
    fault
}

#[track_caller]
fn says(fault: &TlsFault, name: &str, message: &str, hint: &str) {
    assert_eq!(fault.path.file_name().unwrap(), name, "{fault}");
    assert_eq!(fault.message, message);
    let given = fault.hint.as_deref().unwrap_or_default();
    assert!(given.contains(hint) && given.is_empty() == hint.is_empty(), "{given:?}");
}

#[test]
fn keys_of_all_forms_and_kinds_can_be_used() {
    let authority = Authority::new();
    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384] {
        let folder = tempfile::tempdir().unwrap();
        authority
            .issue(&["localhost"], &KeyPair::generate_for(algorithm).unwrap(), |_| ())
            .write(folder.path());
        load(folder.path()).unwrap();
    }
    // PKCS#1 and SEC1, each in one file with its certificate.
    for both in [include_str!("pkcs1.pem"), include_str!("sec1.pem")] {
        let folder = tempfile::tempdir().unwrap();
        Pair { certificate: both.to_owned(), key: both.to_owned() }.write(folder.path());
        load(folder.path()).unwrap();
    }
}

#[test]
fn files_of_windows_editors_can_be_used() {
    let folder = folder();
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        let path = folder.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
    }
    load(folder.path()).unwrap();
}

#[test]
fn unreadable_tls_file_is_named_with_the_reason() {
    let folder = folder();
    for name in ["cert.pem", "key.pem"] {
        let path = folder.path().join(name);
        let text = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let fault = load(folder.path()).unwrap_err();
        assert!(fault.path == path && fault.message.starts_with("cannot be read: "), "{fault}");
        assert!(fault.hint.unwrap().contains("relative"));
        std::fs::create_dir(&path).unwrap();
        says(&load(folder.path()).unwrap_err(), name, "cannot be read: this is a directory", "");
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    load(folder.path()).unwrap();
}

#[test]
fn an_encrypted_key_is_answered_with_the_command_that_opens_it() {
    let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n\
               -----END RSA PRIVATE KEY-----\n";
    for text in [new, old] {
        let message = "holds an encrypted private key, and the server cannot ask for its password";
        says(&fault("key.pem", text), "key.pem", message, "openssl pkey -in ");
    }
}

#[test]
fn files_that_were_mixed_up_are_recognized() {
    let other = Authority::new().server("localhost");
    let message = "holds a certificate and no private key";
    says(&fault("key.pem", &other.certificate), "key.pem", message, "-----BEGIN PRIVATE KEY-----");
    let message = "holds a private key and no certificate";
    says(&fault("cert.pem", &other.key), "cert.pem", message, "-----BEGIN CERTIFICATE-----");
    says(&fault("ca.pem", &other.key), "ca.pem", message, "-----BEGIN CERTIFICATE-----");
    let public = KeyPair::generate().unwrap().public_key_pem();
    let message = "holds a public key and no private key";
    says(&fault("key.pem", public), "key.pem", message, "PRIVATE KEY");
    let openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let message = "holds `OPENSSH PRIVATE KEY` and no private key";
    says(&fault("key.pem", openssh), "key.pem", message, "PEM");
}

#[test]
fn swapped_certificate_and_key_are_recognized() {
    let folder = folder();
    let files = |first: &str, second: &str| Tls {
        certificate: folder.path().join(first),
        key: folder.path().join(second),
        client_ca: None,
        crl: None,
    };
    let fault = Keys::load(&files("key.pem", "cert.pem")).unwrap_err();
    let other = folder.path().join("cert.pem");
    let message = format!(
        "holds a private key and {} a certificate: certificate and key seem to be swapped",
        other.display()
    );
    says(&fault, "key.pem", &message, "");
    assert!(Keys::are_swapped(&files("key.pem", "cert.pem")));
    for (first, second) in [("cert.pem", "key.pem"), ("key.pem", "key.pem"), ("cert.pem", "cert.pem")] {
        assert!(!Keys::are_swapped(&files(first, second)), "{first} {second}");
    }
}

#[test]
fn faults_of_all_tls_files_are_found_independently() {
    let names = |changed: &[(&str, &str)]| {
        let folder = folder();
        for (name, text) in changed {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let path = |name: &str| folder.path().join(name);
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        let found = Keys::faults(&Tls { certificate, key, client_ca: Some(path("ca.pem")), crl: None });
        found.iter().map(|fault| fault.path.file_name().unwrap().display().to_string()).collect::<Vec<_>>()
    };
    let strangers = Authority::new().server("localhost").key;
    assert!(names(&[]).is_empty());
    assert_eq!(
        names(&[("cert.pem", ""), ("key.pem", ""), ("ca.pem", "")]),
        ["cert.pem", "key.pem", "ca.pem"]
    );
    assert_eq!(names(&[("key.pem", &strangers), ("ca.pem", "")]), ["key.pem", "ca.pem"]);
    assert_eq!(names(&[("cert.pem", ""), ("key.pem", &strangers)]), ["cert.pem"]);
}

#[test]
fn other_forms_are_recognized() {
    for empty in ["", " \r\n\n"] {
        for name in ["cert.pem", "key.pem", "ca.pem"] {
            says(&fault(name, empty), name, "is empty", "");
        }
    }
    let other = Authority::new().server("localhost");
    says(&fault("cert.pem", other.der()), "cert.pem", "is in DER, not in PEM", "openssl x509 -in ");
    let key = KeyPair::generate().unwrap().serialize_der();
    says(&fault("key.pem", key), "key.pem", "is in DER, not in PEM", "openssl pkey -in ");
    let pfx = [0x30, 0x82, 9, 9, 2, 1, 3, 0x30];
    says(&fault("cert.pem", pfx), "cert.pem", "is in PKCS#12, not in PEM", "openssl pkcs12 -in ");
    let wide: Vec<u8> = "\u{feff}-----BEGIN".encode_utf16().flat_map(u16::to_le_bytes).collect();
    says(&fault("cert.pem", wide), "cert.pem", "is in UTF-16", "plain text");
    says(&fault("key.pem", "secret"), "key.pem", "holds no private key", "PEM");
    let large = vec![b'x'; (4 << 20) + 1];
    says(&fault("cert.pem", large), "cert.pem", "is too large for certificates", "");
}

#[test]
fn damaged_key_is_reported_without_quoting_it() {
    let key = Authority::new().server("localhost").key;
    let half = &key[..key.len() / 2];
    says(&fault("key.pem", half), "key.pem", "ends in the middle of a section", "cut off");
    let changed = key.replacen('\n', "\n!SECRET!\n", 1);
    says(&fault("key.pem", changed), "key.pem", "has a section that is not base64", "changed");
    let line = "-----BEGIN PRIVATE KEY SECRET\nAAAA\n";
    let message = "has a BEGIN line that does not end in five hyphens";
    says(&fault("key.pem", line), "key.pem", message, "changed");
    let unusable = fault("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert!(unusable.message.starts_with("holds a private key that is damaged or of a kind"), "{unusable}");
    let unusable = fault("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(unusable.message, "holds a certificate that cannot be used (badly encoded)");
    let unusable = fault("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(unusable.message, "holds an authority that cannot be used (number 1: badly encoded)");
}

#[test]
fn version_1_certificate_is_refused_with_the_openssl_command() {
    let folder = tempfile::tempdir().unwrap();
    let both = include_str!("version1.pem").to_owned();
    Pair { certificate: both.clone(), key: both }.write(folder.path());
    let fault = load(folder.path()).unwrap_err();
    let message = "holds a certificate that cannot be used (of X.509 version 1, where version 3 is needed)";
    assert_eq!(fault.message, message);
    assert!(fault.hint.unwrap().contains("openssl req -x509"));
}

#[test]
fn a_key_has_to_be_that_of_the_certificate() {
    let fault = fault("key.pem", Authority::new().server("localhost").key);
    assert!(
        fault.message.starts_with("holds a private key that does not match the certificate in "),
        "{fault}"
    );
    assert!(fault.hint.unwrap().contains("one of the two files replaced"));
}

#[test]
fn certificate_after_its_authority_gets_an_order_hint() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mut pair = authority.server("localhost");
    pair.certificate = authority.certificate() + &pair.certificate;
    pair.write(folder.path());
    let fault = load(folder.path()).unwrap_err();
    assert_eq!(fault.hint.unwrap(), "the server's own certificate must be the first one");
}

#[test]
fn a_certificate_out_of_its_time_is_loaded_with_a_warning() {
    let warning = |change: fn(&mut rcgen::CertificateParams)| {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        Authority::new().issue(&["localhost"], &key, change).write(folder.path());
        load(folder.path()).unwrap().warning().map(|fault| fault.message.clone())
    };
    assert_eq!(warning(|_| ()), None);
    let expired = warning(|params| params.not_after = rcgen::date_time_ymd(2001, 2, 3)).unwrap();
    assert_eq!(expired, "holds a certificate that has expired (2001-02-03T00:00:00Z)");
    let early = warning(|params| params.not_before = rcgen::date_time_ymd(2999, 2, 3)).unwrap();
    assert_eq!(early, "holds a certificate that is not valid before 2999-02-03T00:00:00Z");
}

#[test]
fn keys_do_not_print() {
    let folder = folder();
    let shown = format!("{:?}", load(folder.path()).unwrap());
    assert_eq!(shown, "Keys { warning: None, .. }");
}

fn fault_of_list(list: impl AsRef<[u8]>) -> TlsFault {
    fault("crl.pem", list)
}

#[test]
fn a_file_that_is_no_revocation_list_is_recognized() {
    let authority = Authority::new();
    let list = authority.revocation_list(&[], 3600);
    says(&fault_of_list(""), "crl.pem", "is empty", "");
    let large = vec![b'x'; (32 << 20) + 1];
    says(&fault_of_list(&large), "crl.pem", "is too large for revocation lists", "");
    let found = fault_of_list(authority.certificate());
    says(&found, "crl.pem", "holds a certificate and no revocation list", "-----BEGIN X509 CRL-----");
    let der = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).unwrap();
    says(&fault_of_list(&der), "crl.pem", "is in DER, not in PEM", "openssl crl -in ");
    let cut = &list[..list.len() / 2];
    says(&fault_of_list(cut), "crl.pem", "ends in the middle of a section", "the copy cut off");
    let found = fault("cert.pem", &list);
    says(&found, "cert.pem", "holds a revocation list and no certificate", "-----BEGIN CERTIFICATE-----");
}

#[test]
fn a_revocation_list_that_cannot_be_used_is_named_by_its_number() {
    let list = Authority::new().revocation_list(&[], 3600);
    let damaged = "-----BEGIN X509 CRL-----\nMAMCAQE=\n-----END X509 CRL-----\n";
    let found = fault_of_list(list.clone() + damaged);
    says(&found, "crl.pem", "holds a revocation list that is damaged or has no `nextUpdate` (number 2)", "");
    let mut lines: Vec<_> = list.lines().collect();
    lines.remove(lines.len() - 2);
    let found = fault_of_list(list.clone() + &lines.join("\n"));
    let message =
        "holds a revocation list that is badly encoded (TrailingData(CertRevocationList)) (number 2)";
    says(&found, "crl.pem", message, "");
}

#[test]
fn a_damaged_list_is_known_beside_damaged_authorities() {
    let folder = folder();
    for name in ["ca.pem", "crl.pem"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let names: Vec<_> = Keys::faults(&files(folder.path())).into_iter().map(|fault| fault.path).collect();
    assert_eq!(names, ["ca.pem", "crl.pem"].map(|name| folder.path().join(name)));
}
