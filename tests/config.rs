//! The server uses or reports every line of a classic file, with its position. It does not serve a
//! file with errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::fmt::Write;
use std::net::TcpStream;

use testkit::{Builder, Client, Finished, free_port, probe, run};

fn check(bytes: &[u8], arguments: &[&str]) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.conf");
    std::fs::write(&path, bytes).unwrap();
    run(&[&["--check", "--cfgfile", path.to_str().unwrap()], arguments].concat())
}

/// The positions of all findings, as `line:column`.
fn places(text: &str) -> Vec<String> {
    let after = text.split("w.conf:").skip(1);
    after
        .map(|rest| rest.splitn(3, ':').take(2).collect::<Vec<_>>().join(":"))
        .filter(|place| place.starts_with(|first: char| first.is_ascii_digit()))
        .collect()
}

const BROKEN: &str = "# a comment\n\
    99999 none cmd\n\
    0 none cmd\n\
    80x none cmd\n\
    81\n\
    82 none\n\
    83 none cmd\n\
    83 none cmd\n\
    84 :pw cmd\n";

#[test]
fn broken_file_reports_all_errors_and_serves_nothing() {
    let finished = check(BROKEN.as_bytes(), &[]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    // After these come findings about the system for the one correct line.
    assert_eq!(places(&finished.errors)[..7], ["2:1", "3:1", "4:1", "5:1", "6:4", "8:1", "9:4"]);
    assert!(finished.errors.contains("in line 7 already"), "{}", finished.errors);
    assert!(finished.errors.contains("put # in front"), "{}", finished.errors);

    let port = free_port();
    let text = format!("{port} none {}\n{BROKEN}", probe("say no"));
    let daemon = Builder::of_bytes(text.as_bytes()).launch();
    let finished = daemon.finish();
    assert_eq!(finished.code, Some(78));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!finished.errors.contains("\"ready\""));
}

#[test]
fn a_missing_file_is_said_with_a_line_to_write() {
    for verb in ["--check", "--debug"] {
        let finished = run(&[verb, "--cfgfile", "no-such-file.conf"]);
        assert_eq!(finished.code, Some(66), "{}", finished.errors);
        assert!(
            finished.errors.contains("no-such-file.conf") && finished.errors.contains("7777  n"),
            "{}",
            finished.errors
        );
    }
}

#[test]
fn every_config_line_is_used_or_reported() {
    // The original program had a table for fewer lines, each with a shorter buffer. The last line
    // has no newline.
    let mut text = String::new();
    let filler = "x".repeat(2000);
    for port in 1000..1200 {
        let _ = write!(text, "{port} none {} {filler}\r\n", probe("say"));
    }
    let _ = write!(text, "1200 none {}", probe("say last"));
    let finished = check(text.as_bytes(), &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    assert!(finished.output.contains("201 services"), "{}", finished.output);
    assert!((1000..=1200).all(|port| finished.output.contains(&format!("\n{port}: "))
        || finished.output.starts_with(&format!("{port}: "))));
}

#[test]
fn file_without_a_final_newline_keeps_its_last_character() {
    let port = free_port();
    let _daemon = Builder::of_bytes(format!("{port} none {}", probe("say word")).as_bytes()).start();
    assert_eq!(Client::connect(port).read_text(), "word");
}

#[test]
fn utf_16_and_byte_order_marks_are_understood() {
    let port = free_port();
    let line = format!("{port}\tnone \t {}\t \r\n", probe("arguments ä漢"));
    let utf_16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(line.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let utf_8 = [b"\xef\xbb\xbf", line.as_bytes()].concat();
    for bytes in [utf_16, utf_8, line.into_bytes()] {
        let _daemon = Builder::of_bytes(&bytes).start();
        assert_eq!(Client::connect(port).read_text(), "arguments\nä漢");
    }
}

#[test]
fn a_hundred_listeners_are_served() {
    let ports: Vec<u16> = (0..100).map(|_| free_port()).collect();
    let lines: Vec<_> =
        ports.iter().map(|port| format!("{port} none {}", probe(&format!("say {port}")))).collect();
    let daemon = Builder::new(&lines).start();
    for &port in ports.iter().rev().step_by(9) {
        assert_eq!(Client::connect(port).read_text(), port.to_string());
    }
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_file_without_services_starts_with_a_warning() {
    let daemon = Builder::of_bytes(b"# nothing here\n").start();
    assert!(
        daemon.event("configuration", |_| true)["message"].to_string().contains("this file has no service")
    );
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn empty_classic_or_native_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["w.conf", "w.toml"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "").unwrap();
        for verb in ["--check", "--debug"] {
            let finished = run(&[verb, "--cfgfile", path.to_str().unwrap()]);
            assert_eq!(finished.code, Some(78), "{verb} {name}: {}", finished.errors);
            assert!(finished.errors.contains("this file is empty"), "{}", finished.errors);
            assert!(finished.errors.contains("hint: save it again"), "{}", finished.errors);
        }
    }
}

#[test]
fn a_port_with_a_leading_zero_is_an_error_with_its_place() {
    let finished = check(b"# a comment\n0080 none cmd\n", &[]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    assert!(finished.errors.contains("  | ^^^^\n  |\n  = hint: write 80\n"), "{}", finished.errors);
    assert_eq!(places(&finished.errors), ["2:1"]);
}

#[test]
fn findings_have_colors_only_where_they_are_wanted() {
    let colored = |arguments: &[&str]| check(b"0080 none cmd\n", arguments).errors.contains('\x1b');
    assert!(!colored(&[]), "standard error is a pipe here");
    assert!(!colored(&["--color", "never"]));
    assert!(colored(&["--color", "always"]));
    let warned = check(b"7001 none no-such-program\n", &["--color=always"]);
    assert!(warned.output.contains('\x1b'), "{}", warned.output);
}

#[test]
fn check_names_the_program_that_each_service_would_start() {
    let finished = check(format!("7001 none {}\n", probe("line")).as_bytes(), &[]);
    assert_eq!(finished.code, Some(0));
    let program = testkit::probe_path().display().to_string();
    assert!(finished.output.contains(&format!("7001: {program}")), "{}", finished.output);
}

#[test]
fn check_warns_of_missing_programs_and_strict_fails() {
    let text = b"7001 nosuchuser:secretword no-such-program\n 7002 none cmd\n";
    let finished = check(text, &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    assert_eq!(places(&finished.output), ["2:1", "1:6", "1:28"], "{}", finished.output);
    assert_eq!(check(text, &["--strict"]).code, Some(78));
}

#[test]
fn password_never_appears_in_any_output() {
    let secret = "hunter2";
    let port = free_port();
    let lines = [format!("{port} nosuchuser:{secret} {}", probe("say no"))];
    let daemon = Builder::new(&lines).start();
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    daemon.record(client.port());
    daemon.event("configuration", |event| event["message"].to_string().contains("nosuchuser"));
    assert!(!daemon.text().contains(secret), "{}", daemon.text());
    for line in [
        format!("7001 nosuchuser:{secret} no-such-program"),
        format!("7001:nosuchuser:{secret} none cmd"),
        format!("99999 user:{secret} cmd"),
        format!("7001 :{secret} cmd"),
        format!("7001 user:{secret}"),
        format!(" 7001 user:{secret} cmd"),
    ] {
        let finished = check(line.as_bytes(), &[]);
        let said = finished.output + &finished.errors;
        assert!(said.contains("w.conf:1:"), "{said}");
        assert!(!said.contains(secret), "{said}");
    }
}
