//! Which clients are accepted, and what programs learn about them.

use rustls::HandshakeKind;
use testkit::tls::rcgen::{DistinguishedName, DnType, DnValue, KeyPair};

use super::*;

/// Alert numbers of TLS.
const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

#[test]
fn both_tls_versions_report_the_negotiated_parameters() {
    for (version, name, cipher) in [
        (Version::V12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_"),
        (Version::V13, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ] {
        let both = shaken(version);
        assert_eq!(both.variable("PROTO").unwrap(), "SSL");
        assert_eq!(both.variable("SSL_PROTOCOL").unwrap(), name);
        assert!(both.variable("SSL_CIPHER").unwrap().starts_with(cipher), "{:?}", both.server.variables());
        assert_eq!(both.variable("SSL_TLS_SNI_SERVERNAME").unwrap(), "localhost");
        assert_eq!(both.server.variables().len(), 4);
    }
}

#[test]
fn nothing_is_told_before_the_handshake_is_over() {
    let authority = Authority::new();
    let both = Both::new(&keys(&authority, false), &Client::new(&authority, Version::V13));
    assert!(both.server.is_handshaking());
    assert_eq!(both.server.variables(), []);
}

/// A ClientHello of TLS 1.1, in its own record.
fn hello_of_before(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.append(&mut body);
    record
}

#[test]
fn a_client_of_tls_1_1_is_refused_and_told_so() {
    let signature_algorithms = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    for (extensions, alert) in [(&[][..], HANDSHAKE_FAILURE), (&signature_algorithms, PROTOCOL_VERSION)] {
        let mut server = Connection::new(&keys(&Authority::new(), false)).unwrap();
        let error = server.read_from(&mut &*hello_of_before(extensions)).unwrap_err();
        assert_eq!(error.to_string(), "the client offers neither TLS 1.2 nor TLS 1.3");
        assert!(server.is_handshaking() && !server.wants_read() && server.wants_write());
        let mut told = Vec::new();
        server.write_to(&mut told).unwrap();
        assert_eq!((told[0], &told[5..]), (21, &[2, alert][..]));
        assert!(matches!(server.read_from(&mut &b"more"[..]), Err(ReadError::Tls(_))));
    }
}

#[test]
fn plain_text_instead_of_tls_is_refused() {
    let mut server = Connection::new(&keys(&Authority::new(), false)).unwrap();
    let error = server.read_from(&mut &b"GET / HTTP/1.1\r\n\r\n"[..]).unwrap_err();
    assert!(error.to_string().starts_with("the client did not send TLS"), "{error}");
}

#[test]
fn client_without_a_required_certificate_is_refused() {
    for version in VERSIONS {
        let authority = Authority::new();
        let mut both = Both::new(&keys(&authority, true), &Client::new(&authority, version));
        assert_eq!(both.settle().unwrap_err(), "the client has no certificate");
        assert!(both.server.is_handshaking());
    }
}

#[test]
fn a_client_with_a_certificate_of_another_authority_is_refused() {
    for version in VERSIONS {
        let authority = Authority::new();
        let stranger = Authority::new().client("root");
        let mut both = Both::new(&keys(&authority, true), &Client::with(&authority, version, &stranger));
        let words = both.settle().unwrap_err();
        assert_eq!(words, "the client's certificate is not accepted (of an unknown issuer)");
        assert!(both.server.is_handshaking());
    }
}

#[test]
fn the_name_of_an_authority_is_not_enough() {
    let (ours, other) = (Authority::named("the same"), Authority::named("the same"));
    let stranger = Client::with(&ours, Version::V13, &other.client("root"));
    let mut both = Both::new(&keys(&ours, true), &stranger);
    assert_eq!(
        both.settle().unwrap_err(),
        "the client's certificate is not accepted (not signed by the authority that it names)"
    );
}

#[test]
fn a_client_whose_certificate_has_expired_is_refused() {
    let authority = Authority::new();
    let old = authority.issue(&[], &KeyPair::generate().unwrap(), |params| {
        params.not_after = testkit::tls::rcgen::date_time_ymd(2001, 2, 3);
    });
    let mut both = Both::new(&keys(&authority, true), &Client::with(&authority, Version::V13, &old));
    let words = both.settle().unwrap_err();
    assert!(
        words.starts_with("the client's certificate is not accepted (") && words.contains("expired"),
        "{words}"
    );
}

#[test]
fn client_certificate_is_identified_by_subject_and_hash() {
    for version in VERSIONS {
        let authority = Authority::new();
        let alice = authority.client("alice");
        let mut both = Both::new(&keys(&authority, true), &Client::with(&authority, version, &alice));
        both.settle().unwrap();
        assert_eq!(both.variable("SSL_PEER_CERT_SUBJECT").unwrap(), "CN=alice");
        let hash = both.variable("SSL_PEER_CERT_HASH").unwrap();
        assert_eq!(hash, certificate::hash(&alice.der()));
        let digits = hash.strip_prefix("SHA256:").unwrap();
        assert_eq!(digits.len(), 64);
        assert!(digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    }
}

#[test]
fn a_hash_is_that_of_the_whole_certificate() {
    let expected = "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(certificate::hash(b"abc"), expected);
}

#[test]
fn without_an_authority_no_certificate_is_asked_for() {
    let authority = Authority::new();
    let client = Client::with(&authority, Version::V13, &authority.client("alice"));
    let mut both = Both::new(&keys(&authority, false), &client);
    both.settle().unwrap();
    assert_eq!(both.variable("SSL_PEER_CERT_HASH"), None);
}

#[test]
fn only_a_client_without_a_certificate_resumes_its_session() {
    for version in VERSIONS {
        for (clients, kind) in [(false, HandshakeKind::Resumed), (true, HandshakeKind::Full)] {
            let authority = Authority::new();
            let client = Client::with(&authority, version, &authority.client("alice"));
            let keys = keys(&authority, clients);
            let mut first = Both::new(&keys, &client);
            first.settle().unwrap();
            let mut second = Both::new(&keys, &client);
            second.settle().unwrap();
            assert_eq!(first.server.tls.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(second.server.tls.handshake_kind(), Some(kind), "{version:?}");
            assert_eq!(second.server.variables(), first.server.variables());
        }
    }
}

#[test]
fn tls_session_cannot_be_resumed_after_a_key_reload() {
    for version in VERSIONS {
        let authority = Authority::new();
        let client = Client::new(&authority, version);
        Both::new(&keys(&authority, false), &client).settle().unwrap();
        let mut second = Both::new(&keys(&authority, true), &client);
        assert_eq!(second.settle().unwrap_err(), "the client has no certificate");
    }
}

fn subject(parts: &[(DnType, DnValue)]) -> Option<String> {
    let pair = Authority::new().issue(&[], &KeyPair::generate().unwrap(), |params| {
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
    });
    certificate::subject(&pair.der())
}

fn named(text: &str) -> Option<String> {
    subject(&[(DnType::CommonName, DnValue::Utf8String(text.to_owned()))])
}

#[test]
fn a_subject_is_written_as_rfc_4514_says() {
    let parts = [(DnType::CountryName, "DE".into()), (DnType::OrganizationName, "a, b".into())];
    let parts = [&parts[..], &[(DnType::CommonName, "Zoë".into())]].concat();
    assert_eq!(subject(&parts).unwrap(), r"CN=Zoë,O=a\, b,C=DE");
    assert_eq!(named(r#" #a+"b"<c>;=\ "#).unwrap(), r#"CN=\ #a\+\"b\"\<c\>\;=\\\ "#);
}

#[test]
fn control_characters_in_a_subject_are_escaped() {
    let name = "a\0b\nc\r\u{1b}[2J\u{7f}\u{85}d";
    assert_eq!(named(name).unwrap(), r"CN=a\00b\0ac\0d\1b[2J\7f\c2\85d");
}

#[test]
fn a_subject_that_is_too_long_is_not_told_in_part() {
    assert!(named(&"a".repeat(1000)).is_some());
    assert_eq!(named(&"a".repeat(2000)), None);
    assert_eq!(certificate::subject(b"no certificate"), None);
}
