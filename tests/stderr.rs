//! A program's standard error goes to the log in bounded lines, to its client, or nowhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Value, free_port};

/// The lines that one session may log at once.
const BURST: usize = 100;

const BINDINGS: [&str; 2] = ["socket", "pipe"];

fn builder(words: &[&str], keys: &str) -> (u16, Builder) {
    let port = free_port();
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let text =
        format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {}]\n{keys}\n", words.join(", "));
    (port, Builder::native(&text))
}

fn serve(words: &[&str], keys: &str) -> (u16, Daemon) {
    let (port, builder) = builder(words, keys);
    (port, builder.start())
}

/// Runs the test with each kind of `stdio`. The lines in the log do not depend on it.
fn for_each_binding(test: impl Fn(&str)) {
    for binding in BINDINGS {
        test(&format!("stdio = '{binding}'"));
    }
}

fn lines(daemon: &Daemon) -> Vec<String> {
    let events = daemon.events().into_iter().filter(|event| event["event"] == "stderr");
    events.map(|event| event["line"].as_str().unwrap().to_owned()).collect()
}

fn lost(daemon: &Daemon) -> u64 {
    let events = daemon.events().into_iter().filter(|event| event["event"] == "stderr_lost");
    events.map(|event| event["lines"].as_u64().unwrap()).sum()
}

/// Runs a whole session and returns its record. After the record, the server logs no more lines of
/// the session.
fn served(port: u16, daemon: &Daemon) -> Value {
    let mut client = Client::connect(port);
    client.read_until_gone();
    let client_port = client.port();
    drop(client);
    daemon.record(client_port)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn stderr_lines_name_their_session_and_precede_its_record() {
    for_each_binding(|keys| {
        let (port, daemon) = serve(&["streams", "complain-hex", &hex(b"one\ntwo\r\n\nlast")], keys);
        for _ in 0..3 {
            served(port, &daemon);
        }
        let mut told = Vec::new();
        for event in daemon.events() {
            if event["event"] == "stderr" {
                assert_eq!((&event["service"], &event["level"]), (&"a".into(), &"info".into()), "{event}");
                told.push((event["session"].as_u64().unwrap(), event["line"].as_str().unwrap().to_owned()));
            }
            if event["event"] == "session" {
                let session = event["session"].as_u64().unwrap();
                let expected = ["one", "two", "last"].map(|line| (session, line.to_owned()));
                assert_eq!(told.split_off(0), expected);
            }
        }
    });
}

#[test]
fn logged_stderr_does_not_reach_the_client() {
    for_each_binding(|keys| {
        let (port, daemon) = serve(&["streams", "complain-and-say", "complaint", "said"], keys);
        assert_eq!(Client::connect(port).read_text(), "said");
        assert_eq!(daemon.event("stderr", |_| true)["line"], "complaint");
    });
}

#[test]
fn invalid_stderr_text_is_logged_with_replacements() {
    let (port, daemon) = serve(&["streams", "complain-hex", &hex(b"a\xffb\xe2\x82\xac\xe2\n")], "");
    served(port, &daemon);
    assert_eq!(lines(&daemon), ["a\u{fffd}b\u{20ac}\u{fffd}"]);
}

#[test]
fn control_characters_cannot_forge_log_lines() {
    let bytes = b"\x1b[2J\x07\x00\"quoted\"\\\xc2\x85\xe2\x80\xa8\n";
    let (port, daemon) = serve(&["streams", "complain-hex", &hex(bytes)], "");
    served(port, &daemon);
    assert_eq!(lines(&daemon), ["\x1b[2J\x07\0\"quoted\"\\\u{85}\u{2028}"]);
    let (port, builder) = builder(&["streams", "complain-hex", &hex(bytes)], "");
    let daemon = builder.arguments(&["--log-format", "text"]).launch();
    daemon.text_line("ready");
    Client::connect(port).read_until_gone();
    let line = daemon.text_line("quoted");
    assert!(line.contains("stderr"), "{line}");
    assert!(!line.contains(|character: char| character.is_control() || character == '\u{2028}'), "{line:?}");
}

#[test]
fn an_overlong_line_is_cut() {
    let (port, daemon) = serve(&["streams", "complain-lines", "2", "100000", "said"], "");
    served(port, &daemon);
    let lines = lines(&daemon);
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(line.len() <= 1024 && line.starts_with("eee") && line.ends_with("(cut)"), "{line}");
    }
}

#[test]
fn stderr_flood_is_bounded_and_lost_lines_are_counted() {
    const LINES: usize = 20_000;
    for_each_binding(|keys| {
        let (port, daemon) = serve(&["streams", "complain-lines", &LINES.to_string(), "50", "said"], keys);
        let began = Instant::now();
        let record = served(port, &daemon);
        assert_eq!((&record["exit"], &record["reason"]), (&0.into(), &Value::Null), "{record}");
        let most = BURST + 10 * usize::try_from(began.elapsed().as_secs() + 2).unwrap();
        let told = lines(&daemon).len();
        assert!((BURST..=most).contains(&told), "{told} of at most {most}");
        assert_eq!(u64::try_from(told).unwrap() + lost(&daemon), u64::try_from(LINES).unwrap());
    });
}

#[test]
fn lost_lines_event_carries_the_last_stderr_line() {
    let text: String = (0..2 * BURST).map(|number| format!("{number}\n")).collect();
    let (port, daemon) = serve(&["streams", "complain-hex", &hex((text + "giving up\n").as_bytes())], "");
    served(port, &daemon);
    let event = daemon.event("stderr_lost", |_| true);
    assert_eq!(event["last"], "giving up", "{event}");
}

#[test]
fn program_with_megabytes_of_stderr_ends_within_seconds() {
    // Five megabytes, or one under Wine, where a write takes a millisecond on a busy machine.
    let lines = if testkit::is_wine() { "10000" } else { "50000" };
    for_each_binding(|keys| {
        let (port, daemon) = serve(&["streams", "complain-lines", lines, "99", "said"], keys);
        let began = Instant::now();
        let record = served(port, &daemon);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert_eq!(record["exit"], 0, "{record}");
    });
}

#[test]
fn megabytes_of_errors_do_not_slow_their_program() {
    for_each_binding(|keys| {
        let took = (0..3).map(|_| {
            let (port, daemon) = serve(&["streams", "complain-at-once", "4000000"], keys);
            let record = served(port, &daemon);
            assert_eq!(record["exit"], 0, "{record}");
            record["seconds"].as_f64().unwrap()
        });
        let took = took.fold(f64::MAX, f64::min);
        // At the slow rate, the pauses of 50 ms for each 64 KiB add up to three seconds.
        assert!(took < 2.9, "{took}");
    });
}

#[test]
fn a_flood_of_errors_does_not_delay_the_answer_and_costs_little() {
    for_each_binding(|keys| {
        let (port, daemon) = serve(&["streams", "say-and-complain", "answer"], keys);
        let mut client = Client::connect(port);
        let began = Instant::now();
        assert_eq!(client.read_exact(6), b"answer");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        // More than the program may write before the server slows it.
        while lost(&daemon) < 400_000 {
            assert!(began.elapsed() < testkit::LIMIT, "{}", lost(&daemon));
            daemon.wait_a_moment();
        }
        // The limit is for a debug build.
        daemon.uses_less_than(0.2);
        let told = lines(&daemon).len();
        let most = BURST + 10 * usize::try_from(began.elapsed().as_secs() + 2).unwrap();
        assert!(told <= most, "{told} of at most {most}");
    });
}

#[test]
fn with_client_it_reaches_the_client_in_its_place() {
    for_each_binding(|keys| {
        let keys = format!("{keys}\nstderr = 'client'");
        let (port, daemon) = serve(&["streams", "complain-and-say", "complaint ", "said"], &keys);
        assert_eq!(Client::connect(port).read_text(), "complaint said");
        assert_eq!(lines(&daemon), [""; 0]);
    });
}

#[test]
fn with_discard_it_is_nowhere() {
    for_each_binding(|keys| {
        let keys = format!("{keys}\nstderr = 'discard'");
        let (port, daemon) = serve(&["streams", "complain-and-say", "complaint", "said"], &keys);
        let record = served(port, &daemon);
        assert_eq!(record["exit"], 0, "{record}");
        assert_eq!(Client::connect(port).read_text(), "said");
        assert_eq!(lines(&daemon), [""; 0]);
    });
}

/// The process is in its own session, so the server does not kill it.
#[cfg(unix)]
#[test]
fn stderr_of_a_surviving_process_does_not_hold_the_session() {
    for_each_binding(|keys| {
        let (port, builder) = builder(&["streams", "adrift-complaining"], keys);
        let daemon = builder.without_cgroups().start();
        let began = Instant::now();
        let mut client = Client::connect(port);
        assert_eq!(client.read_exact(4), b"done");
        let client_port = client.port();
        client.vanish();
        let record = daemon.record(client_port);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}: {record}", began.elapsed());
        assert_eq!(record["exit"], 0, "{record}");
    });
}
