//! A service with TLS delivers a program's bytes unchanged, serves only permitted clients, and
//! sends no clear text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::tls::{Authority, Client, Pair, Version};
use testkit::{Builder, Daemon, Gate, Value, free_port};

/// The time limit for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

const VERSIONS: [Version; 2] = [Version::V12, Version::V13];

const PAIR: &str = "tls = { certificate = 'cert.pem', key = 'key.pem' }\n";
const PAIR_AND_CLIENTS: &str = "tls = { certificate = 'cert.pem', key = 'key.pem', client_ca = 'ca.pem' }\n";

const PAIR_AND_LIST: &str =
    "tls = { certificate = 'cert.pem', key = 'key.pem', client_ca = 'ca.pem', crl = 'crl.pem' }\n";

const HOUR: i64 = 3600;

fn service(port: u16, command: &str, more: &str) -> String {
    format!("[service.secure]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\n{more}")
}

fn files(authority: &Authority, text: &str) -> Builder {
    let builder = Builder::native(text);
    authority.write(builder.folder()).server("localhost").write(builder.folder());
    builder
}

fn serve(authority: &Authority, text: &str) -> Daemon {
    files(authority, text).start()
}

fn plain(port: u16) -> testkit::Client {
    testkit::Client::connect(port)
}

/// Checks that the client received at most a TLS alert, and so no text of the program or the file.
fn is_no_clear_text(bytes: &[u8]) {
    const ALERT: u8 = 21;
    assert!(bytes.is_empty() || (bytes[0] == ALERT && bytes.len() == 7), "{}", bytes.escape_ascii());
}

fn failed_at_tls(record: &Value) {
    let outcome = (&record["outcome"], &record["step"], &record["pid"]);
    assert_eq!(outcome, (&"failed".into(), &"tls".into(), &Value::Null), "{record}");
}

#[test]
fn unreadable_keys_are_retried_without_a_reload() {
    let (port, authority) = (free_port(), Authority::new());
    let files = files(&authority, &service(port, "'echo'", PAIR));
    let daemon = files.variable("WININETD_TEST_FAULTS", "key-open:1").start();
    let is = |part: &'static str| {
        move |event: &Value| event["message"].as_str().is_some_and(|text| text.contains(part))
    };
    daemon.event("configuration", is("clients are closed until it can be read"));
    daemon.event("configuration", is("can be read now"));
    let mut client = Client::new(&authority, Version::V13).connect(port).unwrap();
    assert_eq!(client.ask(b"healed"), b"healed");
}

#[test]
fn status_says_that_unreadable_keys_are_retried() {
    let (port, authority) = (free_port(), Authority::new());
    let files = files(&authority, &service(port, "'echo'", PAIR));
    let daemon = files.variable("WININETD_TEST_FAULTS", "key-open:1+").start();
    let service = daemon.service("secure");
    let reason = service["reason"].as_str().unwrap_or_default();
    assert_eq!(service["state"], "paused", "{service}");
    assert!(reason.ends_with("; the server reads it again soon"), "{service}");
}

#[test]
fn tls_works_both_ways_and_ends_with_close_notify() {
    for version in VERSIONS {
        let (port, authority) = (free_port(), Authority::new());
        let daemon = serve(&authority, &service(port, "'echo'", PAIR));
        let mut client = Client::new(&authority, version).connect(port).unwrap();
        for length in [1, 1000, 100_000] {
            let bytes: Vec<u8> = (0..=255).cycle().take(length).collect();
            for part in bytes.chunks(10_000) {
                client.send(part);
                assert_eq!(client.read_exact(part.len()), part);
            }
        }
        client.half_close();
        assert_eq!(client.read_all(), b"");
        let record = daemon.record(client.port());
        assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &0.into()), "{record}");
        assert_eq!(
            (&record["bytes_in"], &record["bytes_out"]),
            (&101_001.into(), &101_001.into()),
            "{record}"
        );
    }
}

#[test]
fn a_program_answers_after_its_clients_close_notify() {
    let (port, authority) = (free_port(), Authority::new());
    let _daemon = serve(&authority, &service(port, "'count'", PAIR));
    let mut client = Client::new(&authority, Version::V13).connect(port).unwrap();
    assert_eq!(client.send(&[7; 12_345]).half_close().read_text(), "12345\n");
}

#[test]
fn the_last_bytes_of_a_program_arrive_before_its_close_notify() {
    let (port, authority) = (free_port(), Authority::new());
    let _daemon = serve(&authority, &service(port, "'flood', '3000000'", PAIR));
    let mut client = Client::new(&authority, Version::V13).connect(port).unwrap();
    assert_eq!(client.read_all().len(), 3_000_000);
}

#[test]
fn the_few_bytes_of_a_program_that_ends_behind_them_arrive() {
    let (port, authority) = (free_port(), Authority::new());
    // The program is warm, so its end follows at once.
    let _daemon = serve(&authority, &service(port, "'line'", &format!("{PAIR}warm = 3\n")));
    let client = Client::new(&authority, Version::V13);
    for _ in 0..30 {
        assert_eq!(client.connect(port).unwrap().send(b"hello\n").read_text(), "hello\n");
    }
}

#[test]
fn a_banner_is_encrypted() {
    let (port, authority) = (free_port(), Authority::new());
    let _daemon = serve(&authority, &service(port, "'say', 'said'", &format!("{PAIR}banner = 'welcome '\n")));
    assert_eq!(Client::new(&authority, Version::V13).connect(port).unwrap().read_text(), "welcome said");
}

#[test]
fn a_program_finds_what_was_agreed_and_who_its_client_is() {
    for version in VERSIONS {
        let (port, authority) = (free_port(), Authority::new());
        let _daemon = serve(&authority, &service(port, "'environment'", PAIR_AND_CLIENTS));
        let client = Client::with(&authority, version, &authority.client("alice"));
        for _ in 0..2 {
            let text = client.connect(port).unwrap().read_text();
            let has = |line: &str| text.lines().any(|other| other.trim_end() == line);
            let name = if version == Version::V12 { "TLSv1.2" } else { "TLSv1.3" };
            assert!(has("PROTO=SSL") && has(&format!("SSL_PROTOCOL={name}")), "{text}");
            assert!(has("SSL_TLS_SNI_SERVERNAME=localhost") && text.contains("\nSSL_CIPHER=TLS_"), "{text}");
            assert!(has("SSL_PEER_CERT_SUBJECT=CN=alice"), "{text}");
            assert!(text.contains("\nSSL_PEER_CERT_HASH=SHA256:"), "{text}");
        }
    }
}

#[test]
fn a_client_without_a_certificate_resumes_its_session() {
    for version in VERSIONS {
        let (port, authority) = (free_port(), Authority::new());
        let _daemon = serve(&authority, &service(port, "'say', 'said'", PAIR));
        let client = Client::new(&authority, version);
        for resumed in [false, true] {
            let mut stream = client.connect(port).unwrap();
            assert_eq!(stream.read_text(), "said");
            assert_eq!(stream.is_resumed(), resumed, "{version:?}");
        }
    }
}

/// A resumed session would skip the check of the certificate.
#[test]
fn a_client_with_a_certificate_never_resumes_a_session() {
    for version in VERSIONS {
        let (port, authority) = (free_port(), Authority::new());
        let _daemon = serve(&authority, &service(port, "'say', 'said'", PAIR_AND_CLIENTS));
        let client = Client::with(&authority, version, &authority.client("alice"));
        for _ in 0..3 {
            let mut stream = client.connect(port).unwrap();
            assert_eq!(stream.read_text(), "said");
            assert!(!stream.is_resumed(), "{version:?}");
        }
    }
}

fn write_list(folder: &Path, list: &str) {
    std::fs::write(folder.join("crl.pem"), list).unwrap();
}

/// A service whose clients need a certificate that this list does not revoke.
fn serve_with_list(authority: &Authority, port: u16, list: &str) -> Daemon {
    let builder = files(authority, &service(port, "'say', 'said'", PAIR_AND_LIST));
    write_list(builder.folder(), list);
    builder.start()
}

/// The service's answer to a client with this certificate.
fn answer(
    authority: &Authority,
    version: Version,
    certificate: &Pair,
    port: u16,
) -> std::io::Result<Vec<u8>> {
    let client = Client::with(authority, version, certificate);
    // In TLS 1.3 the client's handshake ends before the server has checked its certificate.
    client.connect(port).and_then(|mut stream| stream.try_read_all())
}

fn refused(daemon: &Daemon, reason: &str) {
    let record =
        daemon.event("session", |event| event["reason"].as_str().is_some_and(|text| text.contains(reason)));
    failed_at_tls(&record);
}

#[test]
fn a_revoked_certificate_is_refused_and_the_record_says_why() {
    for version in VERSIONS {
        let (port, authority) = (free_port(), Authority::new());
        let (alice, mallory) = (authority.client("alice"), authority.client("mallory"));
        let daemon = serve_with_list(&authority, port, &authority.revocation_list(&[&mallory], HOUR));
        let refusal = answer(&authority, version, &mallory, port);
        assert!(refusal.is_err(), "{refusal:?}");
        refused(&daemon, "the client's certificate is not accepted (revoked by its authority)");
        assert_eq!(answer(&authority, version, &alice, port).unwrap(), b"said");
    }
}

#[test]
fn a_file_may_hold_the_lists_of_several_authorities() {
    let (port, authority, other) = (free_port(), Authority::new(), Authority::new());
    let (bob, mallory) = (other.client("bob"), other.client("mallory"));
    let lists = authority.revocation_list(&[], HOUR) + &other.revocation_list(&[&mallory], HOUR);
    let builder = files(&authority, &service(port, "'say', 'said'", PAIR_AND_LIST));
    let both = authority.certificate() + &other.certificate();
    std::fs::write(builder.folder().join("ca.pem"), both).unwrap();
    write_list(builder.folder(), &lists);
    let daemon = builder.start();
    assert_eq!(answer(&authority, Version::V13, &bob, port).unwrap(), b"said");
    assert!(answer(&authority, Version::V13, &mallory, port).is_err());
    refused(&daemon, "revoked by its authority");
}

#[test]
fn a_client_of_an_authority_without_a_list_is_refused() {
    let (port, authority) = (free_port(), Authority::new());
    let list = Authority::new().revocation_list(&[], HOUR);
    let daemon = serve_with_list(&authority, port, &list);
    daemon.event("configuration", |event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["level"] == "warning" && message.contains("holds no list of an authority in ")
    });
    assert!(answer(&authority, Version::V13, &authority.client("alice"), port).is_err());
    refused(&daemon, "no list in `crl` covers its issuer");
}

#[test]
fn a_list_that_its_authority_did_not_sign_lets_no_client_in() {
    let (port, authority) = (free_port(), Authority::named("the authority"));
    let list = Authority::named("the authority").revocation_list(&[], HOUR);
    let daemon = serve_with_list(&authority, port, &list);
    assert!(answer(&authority, Version::V13, &authority.client("alice"), port).is_err());
    refused(&daemon, "a list in `crl` is not signed by the authority that it names");
}

#[test]
fn a_client_revoked_by_a_reload_is_refused_and_cannot_resume() {
    for version in VERSIONS {
        let (port, authority) = (free_port(), Authority::new());
        let mallory = authority.client("mallory");
        let daemon = serve_with_list(&authority, port, &authority.revocation_list(&[], HOUR));
        // This client keeps its sessions for resumption.
        let client = Client::with(&authority, version, &mallory);
        assert_eq!(client.connect(port).unwrap().read_text(), "said");
        write_list(&daemon.file("."), &authority.revocation_list(&[&mallory], HOUR));
        daemon.reload();
        let refusal = client.connect(port).and_then(|mut stream| stream.try_read_all());
        assert!(refusal.is_err(), "{refusal:?}");
        refused(&daemon, "revoked by its authority");
    }
}

#[test]
fn expired_revocation_list_at_start_refuses_clients() {
    let (port, authority) = (free_port(), Authority::new());
    let alice = authority.client("alice");
    let daemon = serve_with_list(&authority, port, &authority.revocation_list(&[], -HOUR));
    daemon.event("configuration", |event| {
        event["level"] == "error" && event["message"].to_string().contains("secure: clients are closed until")
    });
    assert!(answer(&authority, Version::V13, &alice, port).is_err());
    refused(&daemon, "crl.pem holds a revocation list that has expired (");
    assert_eq!(daemon.service("secure")["state"], "paused");
    assert_eq!(daemon.ask(&["--reload"]).code, Some(78));
    assert!(answer(&authority, Version::V13, &alice, port).is_err());
    write_list(&daemon.file("."), &authority.revocation_list(&[], HOUR));
    daemon.reload();
    assert_eq!(answer(&authority, Version::V13, &alice, port).unwrap(), b"said");
}

fn warns_of_expiry(event: &Value) -> bool {
    let message = event["message"].as_str().unwrap_or_default();
    event["level"] == "warning"
        && message.starts_with("secure: ")
        && message.contains("; it stays in force: ")
}

fn serve_until_list_expires(authority: &Authority, port: u16, revoked: &[&Pair]) -> Daemon {
    for seconds in [2, 4, 8, 16] {
        let daemon = serve_with_list(authority, port, &authority.revocation_list(revoked, seconds));
        // On a busy machine the list may expire before the start.
        let closes = |event: &Value| event["message"].to_string().contains("clients are closed until");
        let event = daemon.event("configuration", |event| warns_of_expiry(event) || closes(event));
        if !closes(&event) {
            return daemon;
        }
    }
    panic!("a start takes more than 16 seconds");
}

#[test]
fn revocation_list_expiring_in_use_warns_once_and_stays() {
    let (port, authority) = (free_port(), Authority::new());
    let (alice, mallory) = (authority.client("alice"), authority.client("mallory"));
    let daemon = serve_until_list_expires(&authority, port, &[&mallory]);
    assert!(answer(&authority, Version::V13, &mallory, port).is_err());
    refused(&daemon, "revoked by its authority");
    assert_eq!(answer(&authority, Version::V13, &alice, port).unwrap(), b"said");
    assert_eq!(daemon.events().iter().filter(|event| warns_of_expiry(event)).count(), 1);
}

#[test]
fn a_reload_with_an_expired_list_takes_a_new_certificate() {
    let (port, authority) = (free_port(), Authority::new());
    let (alice, mallory) = (authority.client("alice"), authority.client("mallory"));
    let daemon = serve_until_list_expires(&authority, port, &[]);
    // The new list is newer than the old one, and expires at once.
    write_list(&daemon.file("."), &authority.revocation_list(&[&mallory], 0));
    let new = authority.server("localhost");
    new.write(&daemon.file("."));
    let said = daemon.reload().output;
    assert!(said.contains("a new certificate is in use"), "{said}");
    assert!(said.contains("holds a revocation list that has expired"), "{said}");
    let mut stream = Client::with(&authority, Version::V13, &alice).connect(port).unwrap();
    assert_eq!(stream.server_certificate(), new.der());
    assert_eq!(stream.read_text(), "said");
    assert!(answer(&authority, Version::V13, &mallory, port).is_err());
    refused(&daemon, "revoked by its authority");
}

#[test]
fn reload_refuses_an_expired_revocation_list() {
    let (port, authority) = (free_port(), Authority::new());
    let mallory = authority.client("mallory");
    let daemon = serve_with_list(&authority, port, &authority.revocation_list(&[&mallory], HOUR));
    write_list(&daemon.file("."), &authority.revocation_list(&[], -HOUR));
    let said = daemon.ask(&["--reload"]);
    assert_eq!(said.code, Some(78), "{}", said.output);
    assert!(said.output.contains("holds a revocation list that has expired"), "{}", said.output);
    assert!(answer(&authority, Version::V13, &mallory, port).is_err());
    refused(&daemon, "revoked by its authority");
}

#[test]
fn a_reload_that_names_an_expired_list_changes_nothing() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'say', 'said'", PAIR_AND_CLIENTS));
    write_list(&daemon.file("."), &authority.revocation_list(&[], -HOUR));
    daemon.rewrite(&service(port, "'say', 'another'", PAIR_AND_LIST));
    let said = daemon.ask(&["--reload"]);
    assert_eq!(said.code, Some(78), "{}", said.errors);
    assert!(said.errors.contains("holds a revocation list that has expired"), "{}", said.errors);
    let alice = authority.client("alice");
    assert_eq!(answer(&authority, Version::V13, &alice, port).unwrap(), b"said");
}

#[test]
fn inherited_variables_cannot_forge_a_client_identity() {
    let (port, authority) = (free_port(), Authority::new());
    let names = ["SSL_PEER_CERT_SUBJECT", "SSL_PEER_CERT_HASH"];
    let builder = Builder::native(&service(port, "'environment'", PAIR));
    let builder = names.into_iter().fold(builder, |builder, name| builder.variable(name, "inherited"));
    authority.server("localhost").write(builder.folder());
    let _daemon = builder.start();
    let text = Client::new(&authority, Version::V13).connect(port).unwrap().read_text();
    assert!(text.contains("PROTO=SSL") && !text.contains("SSL_PEER_"), "{text}");
}

#[test]
fn client_without_a_trusted_certificate_is_not_served() {
    for version in VERSIONS {
        let (port, authority, gate) = (free_port(), Authority::new(), Gate::new());
        let command = format!("'gate', '{}'", gate.address());
        let daemon = serve(&authority, &service(port, &command, PAIR_AND_CLIENTS));
        let stranger = Authority::new().client("root");
        let clients = [Client::new(&authority, version), Client::with(&authority, version, &stranger)];
        for (count, client) in clients.iter().enumerate() {
            // In TLS 1.3 the client's handshake ends before the server has checked its certificate.
            let answer = client.connect(port).and_then(|mut stream| stream.try_read_all());
            assert!(answer.is_err(), "{answer:?}");
            let records = daemon.records(count + 1);
            failed_at_tls(&records[count]);
            let why = ["no certificate", "unknown issuer"][count];
            assert!(records[count]["reason"].as_str().unwrap().contains(why), "{}", records[count]);
        }
        assert!(!gate.is_visited(), "the program ran");
        let alice = Client::with(&authority, version, &authority.client("alice"));
        let mut served = alice.connect(port).unwrap();
        drop(gate.visitor());
        assert_eq!(served.read_all(), b"");
    }
}

#[test]
fn invalid_tls_handshake_is_not_served() {
    let (port, authority, gate) = (free_port(), Authority::new(), Gate::new());
    let command = format!("'gate', '{}'", gate.address());
    let daemon = serve(&authority, &service(port, &command, &format!("{PAIR}banner = 'welcome'\n")));
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 5000], b"\x16\x03\x01\x00\x05hello", b"\n"] {
        let mut client = plain(port);
        client.send(garbage).half_close();
        is_no_clear_text(&client.read_until_gone());
        failed_at_tls(&daemon.record(client.port()));
    }
    let mut client = plain(port);
    let client_port = client.port();
    // Waits for the accept: a connection that is reset earlier has no record.
    client.send(b"\x16");
    while daemon.service("secure")["sessions"].as_array().unwrap().is_empty() {
        daemon.wait_a_moment();
    }
    client.vanish();
    failed_at_tls(&daemon.record(client_port));
    assert!(!gate.is_visited(), "the program ran");
}

#[test]
fn protocol_error_after_the_handshake_holds_no_worker() {
    let (port, authority, gate) = (free_port(), Authority::new(), Gate::new());
    let program = format!("'streams', 'late', '{}'", gate.address());
    let daemon = serve(&authority, &service(port, &program, PAIR));
    // More clients than most machines have workers.
    let mut clients: Vec<_> =
        (0..8).map(|_| Client::new(&authority, Version::V13).connect(port).unwrap()).collect();
    let visitors: Vec<_> = clients.iter().map(|_| gate.visitor()).collect();
    for client in &mut clients {
        client.network().write_all(b"\x17\x03\x03\x00\x05wrong").unwrap();
    }
    // The server has seen the invalid data when its alert arrives.
    clients.iter_mut().for_each(testkit::tls::Stream::drop_until_gone);
    // Each program writes now, but its client cannot receive it.
    drop(visitors);
    for client in &clients {
        assert_eq!(daemon.record(client.port())["outcome"], "served");
    }
    daemon.uses_less_than(0.05);
}

#[test]
fn tls_program_crash_pauses_no_service() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'crash'", PAIR));
    for _ in 0..3 {
        let mut client = Client::new(&authority, Version::V13).connect(port).unwrap();
        client.drop_until_gone();
        let client_port = client.port();
        drop(client);
        assert_eq!(daemon.record(client_port)["outcome"], "served");
    }
}

#[test]
fn failed_handshake_gets_an_alert_despite_extra_bytes() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'say', 'said'", PAIR));
    let mut client = plain(port);
    client.send(&vec![b'x'; 200_000]).half_close();
    let answer = client.read_all();
    assert_eq!((answer.first(), answer.get(5)), (Some(&0x15), Some(&2)), "{answer:02x?}");
    failed_at_tls(&daemon.record(client.port()));
}

#[test]
fn a_health_check_that_says_nothing_is_no_warning() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'say', 'said'", PAIR));
    let mut client = plain(port);
    is_no_clear_text(&client.half_close().read_until_gone());
    let record = daemon.record(client.port());
    failed_at_tls(&record);
    assert_eq!(record["level"], "info", "{record}");
}

#[test]
fn a_client_that_breaks_its_handshake_off_is_no_warning() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'say', 'said'", PAIR));
    let mut client = plain(port);
    is_no_clear_text(&client.send(b"\x16").half_close().read_until_gone());
    let record = daemon.record(client.port());
    failed_at_tls(&record);
    assert_eq!(record["level"], "info", "{record}");
    let mut client = plain(port);
    let client_port = client.port();
    client.send(b"\x16");
    // The server may never see a client that resets before the accept.
    let until = Instant::now() + testkit::LIMIT;
    while daemon.service("secure")["live"] == 0 {
        assert!(Instant::now() < until, "nobody came in:\n{}", daemon.text());
        daemon.wait_a_moment();
    }
    client.vanish();
    let record = daemon.record(client_port);
    failed_at_tls(&record);
    assert_eq!(record["level"], "info", "{record}");
    // Data that is no handshake at all is a warning.
    let mut client = plain(port);
    is_no_clear_text(&client.send(b"GET / HTTP/1.0\r\n\r\n").half_close().read_until_gone());
    assert_eq!(daemon.record(client.port())["level"], "warning");
}

#[test]
fn missing_handshake_times_out_without_delaying_others() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'say', 'said'", PAIR));
    let began = Instant::now();
    let (mut silent, mut slow) = (plain(port), plain(port));
    slow.send(b"\x16\x03\x01");
    assert_eq!(Client::new(&authority, Version::V13).connect(port).unwrap().read_text(), "said");
    assert!(began.elapsed() < HANDSHAKE);
    for client in [&mut silent, &mut slow] {
        is_no_clear_text(&client.read_until_gone());
        failed_at_tls(&daemon.record(client.port()));
    }
    assert!(began.elapsed() >= HANDSHAKE, "{:?}", began.elapsed());
}

#[test]
fn a_reload_serves_the_new_pair_and_sessions_go_on() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'echo'", PAIR));
    let client = Client::new(&authority, Version::V13);
    let mut before = client.connect(port).unwrap();
    let new = authority.server("localhost");
    new.write(&daemon.file("."));
    let said = daemon.reload().output;
    assert!(said.contains("secure: a new certificate is in use, which is valid until "), "{said}");
    daemon.event("configuration", |event| {
        event["level"] == "info" && event["message"].to_string().contains("a new certificate is in use")
    });
    // A second reload reads the same certificate and reports none.
    let said = daemon.reload().output;
    assert!(!said.contains("certificate"), "{said}");
    let mut after = client.connect(port).unwrap();
    assert!(!after.is_resumed());
    assert_eq!(after.server_certificate(), new.der());
    assert_ne!(before.server_certificate(), new.der());
    for stream in [&mut before, &mut after] {
        assert_eq!(stream.send(b"hello").half_close().read_all(), b"hello");
    }
}

#[test]
fn reload_with_a_mismatched_key_keeps_the_old_pair_and_warns() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'say', 'said'", PAIR));
    let old = std::fs::read_to_string(daemon.file("cert.pem")).unwrap();
    std::fs::write(daemon.file("key.pem"), Authority::new().server("localhost").key).unwrap();
    let said = daemon.ask(&["--reload"]);
    assert_eq!(said.code, Some(78), "the caller of --reload sees the failed renewal");
    assert!(said.output.contains("does not match the certificate"), "{}", said.output);
    assert!(said.output.contains("secure: the previous certificate stays in use"), "{}", said.output);
    for words in ["does not match the certificate", "secure: the previous certificate stays in use"] {
        daemon.event("configuration", |event| {
            event["level"] == "warning" && event["message"].to_string().contains(words)
        });
    }
    assert_eq!(daemon.service("secure")["state"], "listening");
    let mut stream = Client::new(&authority, Version::V13).connect(port).unwrap();
    let served = Pair { certificate: old, key: String::new() };
    assert_eq!(stream.server_certificate(), served.der());
    assert_eq!(stream.read_text(), "said");
}

#[test]
fn a_reload_that_names_files_that_are_not_there_changes_nothing() {
    let (port, authority) = (free_port(), Authority::new());
    let daemon = serve(&authority, &service(port, "'say', 'said'", PAIR));
    let wrong = PAIR.replace("cert.pem", "cart.pem");
    daemon.rewrite(&service(port, "'say', 'another'", &wrong));
    let said = daemon.ask(&["--reload"]);
    assert_eq!(said.code, Some(78), "{}", said.errors);
    for words in ["secure: ", "cart.pem", "the previous configuration stays in use"] {
        assert!(said.errors.contains(words), "{}", said.errors);
        daemon.event("reload_failed", |event| event["message"].to_string().contains(words));
    }
    assert_eq!(Client::new(&authority, Version::V13).connect(port).unwrap().read_text(), "said");
    // A new service without a usable certificate does not block a reload. It starts paused.
    daemon.rewrite(
        &(service(port, "'say', 'said'", PAIR)
            + &service(free_port(), "'echo'", &wrong).replace("secure", "new")),
    );
    assert_eq!(daemon.ask(&["--reload"]).code, Some(78));
    assert_eq!(
        (&daemon.service("new")["state"], &daemon.service("secure")["state"]),
        (&"paused".into(), &"listening".into())
    );
}

#[test]
fn start_with_a_mismatched_key_sends_no_clear_text() {
    let (port, authority, gate) = (free_port(), Authority::new(), Gate::new());
    let more = format!("{PAIR}banner = 'welcome'\nrefusal = 'busy'\n");
    let builder = Builder::native(&service(port, &format!("'gate', '{}'", gate.address()), &more));
    let pair = authority.server("localhost");
    pair.write(builder.folder());
    std::fs::write(builder.folder().join("key.pem"), Authority::new().server("localhost").key).unwrap();
    let daemon = builder.start();
    daemon.event("configuration", |event| {
        event["message"].to_string().contains("does not match the certificate")
    });
    for _ in 0..3 {
        let mut client = plain(port);
        is_no_clear_text(&client.read_until_gone());
        let record = daemon.record(client.port());
        failed_at_tls(&record);
        assert!(record["reason"].as_str().unwrap().contains("does not match the certificate"), "{record}");
    }
    assert!(!gate.is_visited(), "the program ran");
    let status = daemon.service("secure");
    assert_eq!(status["state"], "paused", "{status}");
    assert!(status["reason"].as_str().unwrap().contains("does not match the certificate"), "{status}");
    let explained = daemon.ask(&["--explain", "127.0.0.1"]).output;
    assert!(explained.starts_with("secure: refuse, "), "{explained}");
    assert!(explained.contains("does not match the certificate"), "{explained}");
    let said = daemon.ask(&["--reload"]);
    assert_eq!(said.code, Some(78));
    assert!(said.output.contains("secure: clients are closed until this is corrected"), "{}", said.output);
    pair.write(&daemon.file("."));
    daemon.reload();
    let mut client = Client::new(&authority, Version::V13).connect(port).unwrap();
    drop(gate.visitor());
    assert_eq!(client.read_all(), b"welcome");
}

#[test]
fn waiting_client_does_not_cut_off_a_running_transfer() {
    let (port, authority, gate) = (free_port(), Authority::new(), Gate::new());
    let command = format!("'flood-until', '{}'", gate.address());
    let daemon = serve(&authority, &service(port, &command, &format!("{PAIR}max_connections = 1\n")));
    let mut client = Client::new(&authority, Version::V13).connect(port).unwrap();
    let visitor = gate.visitor();
    // All buffers between the program and its client are full.
    let moved = || daemon.service("secure")["sessions"][0]["bytes_out"].as_u64().unwrap();
    let (mut before, mut same) = (0, 0);
    while same < 5 {
        daemon.wait_a_moment();
        let now = moved();
        same = if now > 0 && now == before { same + 1 } else { 0 };
        before = now;
    }
    // The program ends in the middle, its client does not read, and another client waits.
    drop(visitor);
    plain(port).receives_nothing_for(Duration::from_millis(500));
    // `read_all` requires the final `close_notify`, which a cut connection lacks.
    let read = client.read_all();
    assert!(read.len() as u64 >= before, "{} of {before}", read.len());
}
