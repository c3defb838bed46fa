//! Headers that are invalid, missing or from untrusted peers start no program and delay no other
//! client. The answer reveals nothing about the service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use testkit::proxy::{LOCAL, PROXY, v1, v2, v2_of};
use testkit::{Builder, Client, Daemon, Gate, Value, copy_program, free_port, probe_path};

const BINDINGS: [&str; 2] = ["socket", "pipe"];

const CLIENT: &str = "192.0.2.7:4711";
const LOCAL_SIDE: &str = "198.51.100.1:443";

/// The time limit for a header.
const HEADER: Duration = Duration::from_secs(10);

/// A service with this program that trusts this host as a proxy.
fn service(port: u16, stdio: &str, command: &str, more: &str) -> String {
    format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\nstdio = '{stdio}'\n\
         proxy_protocol = ['127.0.0.1']\n{more}"
    )
}

fn other(port: u16) -> String {
    format!("[service.b]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'line']\n")
}

fn is_served(port: u16) {
    assert_eq!(Client::connect(port).send(b"hello\n").read_text(), "hello\n");
}

fn until_live(daemon: &Daemon) {
    let until = Instant::now() + testkit::LIMIT;
    while daemon.service("a")["live"] == 0 {
        assert!(Instant::now() < until, "nobody came in:\n{}", daemon.text());
        daemon.wait_a_moment();
    }
}

fn named(port: u16) -> Client {
    let mut client = Client::connect(port);
    client.send(&v1(CLIENT, LOCAL_SIDE));
    client
}

fn failed_at_the_header(record: &Value) -> &str {
    let outcome = (&record["outcome"], &record["step"], &record["pid"]);
    assert_eq!(outcome, (&"failed".into(), &"proxy_header".into(), &Value::Null), "{record}");
    record["reason"].as_str().unwrap()
}

#[test]
fn untrusted_sender_is_refused_with_any_header() {
    for stdio in BINDINGS {
        let (port, gate) = (free_port(), Gate::new());
        let command = format!("'gate', '{}'", gate.address());
        let text = service(port, stdio, &command, "refusal = 'no'\n").replace("'127.0.0.1']", "'127.0.0.2']");
        let daemon = Builder::native(&text).start();
        for header in [v1(CLIENT, LOCAL_SIDE), v2_of(LOCAL, 0, b""), b"".to_vec()] {
            let mut stranger = Client::connect(port);
            assert_eq!(stranger.send(&header).read_until_gone(), b"no");
            let record = daemon.record(stranger.port());
            assert_eq!((&record["outcome"], &record["pid"]), (&"refused".into(), &Value::Null), "{record}");
            assert!(record["reason"].as_str().unwrap().contains("proxy_protocol"), "{record}");
            assert_eq!(record["client"], Value::Null, "{record}");
        }
        assert!(!gate.is_visited(), "the program ran");
        let mut proxy = Client::connect_from((Ipv4Addr::new(127, 0, 0, 2), 0), port).unwrap();
        proxy.send(&v1(CLIENT, LOCAL_SIDE));
        drop(gate.visitor());
        assert_eq!(proxy.read_all(), b"");
    }
}

#[test]
fn invalid_header_starts_no_program() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107));
    let mut cut_extension = [1; 14].to_vec();
    cut_extension[12..].copy_from_slice(&[4, 0]);
    let malformed: [Vec<u8>; 18] = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\n".to_vec(),
        vec![0; 5000],
        b"proxy TCP4 192.0.2.7 192.0.2.8 1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 65536\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 192.0.2.8 1 2\r\n".to_vec(),
        b"PROXY TCP4  192.0.2.7 192.0.2.8 1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2 3\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.7 192.0.2.8 1 2\r\n".to_vec(),
        long.into_bytes(),
        b"\r\n\r\n\0\r\nQUIX\n".to_vec(),
        v2_of(0x11, 0x11, &[1; 12]),
        v2_of(0x22, 0x11, &[1; 12]),
        v2_of(PROXY, 0x12, &[1; 12]),
        v2_of(PROXY, 0x11, &[1; 11]),
        v2_of(PROXY, 0x11, &cut_extension),
    ];
    let oversized = v2_of(PROXY, 0x11, &[0; 5000]);
    for stdio in BINDINGS {
        let (port, quiet, gate) = (free_port(), free_port(), Gate::new());
        let command = format!("'gate', '{}'", gate.address());
        let more = format!("banner = 'welcome'\nrefusal = 'busy'\n{}", other(quiet));
        let daemon = Builder::native(&service(port, stdio, &command, &more)).start();
        for bytes in malformed.iter().chain([&oversized]) {
            let mut client = Client::connect(port);
            assert_eq!(client.send(bytes).read_until_gone(), b"", "{}", bytes.escape_ascii());
            failed_at_the_header(&daemon.record(client.port()));
        }
        assert!(!gate.is_visited(), "the program ran");
        is_served(quiet);
        let counts = daemon.service("a");
        assert_eq!((&counts["failed"], &counts["state"]), (&19.into(), &"listening".into()), "{counts}");
    }
}

#[test]
fn truncated_header_starts_no_program() {
    for stdio in BINDINGS {
        let (port, gate) = (free_port(), Gate::new());
        let command = format!("'gate', '{}'", gate.address());
        let daemon = Builder::native(&service(port, stdio, &command, "")).start();
        for header in [v1(CLIENT, LOCAL_SIDE), v2(CLIENT, LOCAL_SIDE)] {
            for length in [0, 1, 12, header.len() - 1] {
                let mut client = Client::connect(port);
                assert_eq!(client.send(&header[..length]).half_close().read_until_gone(), b"");
                let record = daemon.record(client.port());
                // A connection without any bytes is the health check of a proxy.
                let (why, level) = match length {
                    0 => ("ended without sending anything", "info"),
                    _ => ("ended before its header", "warning"),
                };
                assert!(failed_at_the_header(&record).contains(why), "{record}");
                assert_eq!(record["level"], level, "{record}");
            }
            let mut client = Client::connect(port);
            let client_port = client.port();
            client.send(&header[..12]);
            // The server never sees a client that resets before the accept.
            until_live(&daemon);
            client.vanish();
            failed_at_the_header(&daemon.record(client_port));
        }
        assert!(!gate.is_visited(), "the program ran");
    }
}

#[test]
fn missing_header_times_out_without_delaying_others() {
    let (port, quiet, gate) = (free_port(), free_port(), Gate::new());
    let command = format!("'gate', '{}'", gate.address());
    let daemon = Builder::native(&service(port, "socket", &command, &other(quiet))).start();
    let began = Instant::now();
    let (mut silent, mut slow) = (Client::connect(port), Client::connect(port));
    slow.send(b"PROXY TCP4 192");
    is_served(quiet);
    let mut client = named(port);
    assert_eq!(gate.visitor().client_port, "4711");
    assert_eq!(client.read_all(), b"");
    assert!(began.elapsed() < HEADER);
    for client in [&mut silent, &mut slow] {
        assert_eq!(client.read_until_gone(), b"");
        let record = daemon.record(client.port());
        assert!(failed_at_the_header(&record).contains("within 10 s"), "{record}");
    }
    assert!(began.elapsed() >= HEADER, "{:?}", began.elapsed());
    assert!(!gate.is_visited(), "a program ran");
}

#[test]
fn silent_connections_do_not_block_a_client_with_a_header() {
    let port = free_port();
    let daemon =
        Builder::native(&service(port, "socket", "'say', 'in'", "max_connections_per_source = 3\n")).start();
    let began = Instant::now();
    let mut silent: Vec<Client> = (0..200).map(|_| Client::connect(port)).collect();
    assert_eq!(named(port).read_text(), "in");
    assert!(began.elapsed() < HEADER, "{:?}", began.elapsed());
    // The oldest silent connections made room.
    let first = silent.remove(0).port();
    assert!(failed_at_the_header(&daemon.record(first)).contains("made room"));
}

#[test]
fn silent_connections_do_not_fill_a_small_server() {
    let port = free_port();
    let text = service(port, "socket", "'say', 'in'", "");
    let _daemon = Builder::native(&format!("[server]\nmax_connections = 20\n{text}")).start();
    let began = Instant::now();
    let silent: Vec<Client> = (0..30).map(|_| Client::connect(port)).collect();
    assert_eq!(named(port).read_text(), "in");
    assert!(began.elapsed() < HEADER, "{:?}", began.elapsed());
    drop(silent);
}

/// A paused service: its program is missing, and the first client failed.
fn paused(port: u16, more: &str) -> (Daemon, std::path::PathBuf) {
    let builder = Builder::native("");
    let program = builder.folder().join(format!("missing{}", std::env::consts::EXE_SUFFIX));
    let daemon = builder.start();
    let command = format!("['{}',", program.display());
    daemon.rewrite(&service(port, "socket", "'say', 'mended'", more).replace("['@',", &command));
    daemon.reload();
    assert!(named(port).is_turned_away());
    daemon.event("service_paused", |_| true);
    (daemon, program)
}

#[test]
fn port_scans_do_not_resume_a_paused_service() {
    let port = free_port();
    let (daemon, program) = paused(port, "");
    let began = Instant::now();
    let mut scans = 0;
    // The scans go on after the pause, when the next client starts the probe session.
    while began.elapsed() < Duration::from_millis(1500) || scans % 3 != 0 {
        let mut client = Client::connect(port);
        let client_port = client.port();
        match scans % 3 {
            0 => client.vanish(),
            1 => assert!(client.send(b"GET / HTTP/1.1\r\n\r\n").is_turned_away()),
            // The system may reset a connection that closes at once.
            _ => drop(client),
        }
        scans += 1;
        if began.elapsed() > Duration::from_millis(1200) && scans % 3 != 1 {
            // Waits for this scan to end. The record may be missing after an immediate reset, so
            // the loop skips those scans.
            daemon.event("session", |event| event["peer"].to_string().contains(&format!(":{client_port}\"")));
        }
    }
    let status = daemon.service("a");
    assert_eq!(status["state"], "paused", "{status}");
    let mut client = named(port);
    assert!(client.is_turned_away());
    let record = daemon.record(client.port());
    assert_eq!((&record["outcome"], &record["pid"]), (&"failed".into(), &Value::Null), "{record}");
    daemon.event("service_paused", |event| event["pause_seconds"].as_f64() > Some(1.5));
    assert!(daemon.events().iter().all(|event| event["event"] != "service_resumed"));
    copy_program(&probe_path(), &program);
    let until = Instant::now() + testkit::LIMIT;
    while named(port).read_until_gone() != b"mended" {
        assert!(Instant::now() < until, "{}", daemon.text());
        daemon.wait_a_moment();
    }
}

#[test]
fn silent_connection_does_not_delay_the_next_probe() {
    let port = free_port();
    let (daemon, program) = paused(port, "");
    copy_program(&probe_path(), &program);
    let until = Instant::now() + Duration::from_secs(1);
    let mut silent = Client::connect(port);
    // The server closes connections until the pause ends.
    while Instant::now() < until || daemon.service("a")["live"] == 0 {
        silent = Client::connect(port);
        daemon.wait_a_moment();
    }
    let began = Instant::now();
    assert_eq!(named(port).read_text(), "mended");
    assert!(began.elapsed() < HEADER / 2, "{:?}", began.elapsed());
    daemon.event("service_resumed", |_| true);
    drop(silent);
}

#[cfg(target_os = "linux")]
#[test]
fn crashing_program_behind_a_proxy_pauses_its_service() {
    for stdio in BINDINGS {
        for header in [v1(CLIENT, LOCAL_SIDE), v2(CLIENT, LOCAL_SIDE)] {
            let port = free_port();
            let daemon = Builder::native(&service(port, stdio, "'crash'", "")).start();
            let mut client = Client::connect(port);
            client.send(&header);
            // The client does not end its stream, so the crash is not its fault.
            let paused = daemon.event("service_paused", |_| true);
            assert!(paused["cause"].as_str().unwrap().contains("signal 6"), "{paused}");
        }
    }
}

#[test]
fn client_caused_crash_behind_a_proxy_pauses_no_service() {
    for stdio in BINDINGS {
        let port = free_port();
        let daemon = Builder::native(&service(port, stdio, "'crash-on-input'", "")).start();
        for _ in 0..3 {
            named(port).send(b"crash\n").read_until_gone();
            let mut at_once = Client::connect(port);
            at_once.send(&[&v2(CLIENT, LOCAL_SIDE)[..], b"crash\n"].concat()).read_until_gone();
        }
        assert_eq!(named(port).send(b"hello\n").read_text(), "hello\n");
        assert!(daemon.events().iter().all(|event| event["event"] != "service_paused"));
    }
}

#[test]
fn stop_does_not_wait_for_headers() {
    for stdio in BINDINGS {
        let (port, gate) = (free_port(), Gate::new());
        let text = service(port, stdio, &format!("'gate', '{}'", gate.address()), "");
        let daemon = Builder::native(&format!("[server]\nstop_grace = '50s'\n{text}")).start();
        let mut waits = Client::connect(port);
        waits.send(b"PROXY ");
        // The server accepts in order, so it has accepted the first client too.
        let mut served = named(port);
        let visitor = gate.visitor();
        let began = Instant::now();
        daemon.request_stop();
        assert_eq!(waits.read_until_gone(), b"");
        assert!(failed_at_the_header(&daemon.record(waits.port())).contains("stop"));
        assert!(began.elapsed() < HEADER / 2, "{:?}", began.elapsed());
        // A session with a program has a grace period.
        drop(visitor);
        assert_eq!(served.read_all(), b"");
        drop(served);
        assert_eq!(daemon.finish().code, Some(0));
    }
}

#[test]
fn session_waiting_for_its_header_can_be_killed() {
    for stdio in BINDINGS {
        let port = free_port();
        let daemon = Builder::native(&service(port, stdio, "'echo'", "")).start();
        let mut waits = Client::connect(port);
        let sessions = loop {
            let sessions = daemon.service("a")["sessions"].clone();
            if !sessions.as_array().unwrap().is_empty() {
                break sessions;
            }
        };
        assert_eq!(sessions[0]["client"], format!("127.0.0.1:{}", waits.port()));
        let killed = daemon.ask(&["--kill", &sessions[0]["id"].to_string()]);
        assert_eq!(killed.code, Some(0), "{}", killed.errors);
        assert_eq!(waits.read_until_gone(), b"");
        assert!(failed_at_the_header(&daemon.record(waits.port())).contains("killed"));
    }
}

#[test]
fn invalid_headers_consume_no_rate_token() {
    let port = free_port();
    let daemon = Builder::native(&service(port, "socket", "'line'", "rate = '3/h'\n")).start();
    for _ in 0..6 {
        let mut stranger = Client::connect(port);
        stranger.send(b"GET / HTTP/1.0\r\n\r\n");
        assert!(stranger.is_turned_away());
        daemon.record(stranger.port());
    }
    for _ in 0..3 {
        assert_eq!(named(port).send(b"hello\n").read_text(), "hello\n");
    }
    named(port).receives_nothing_for(Duration::from_millis(200));
}

/// The number of refused clients that the log reports, as single records or as counts.
fn told(events: &[Value]) -> u64 {
    let counted = events.iter().filter(|event| event["event"] == "refusals");
    let counted: u64 = counted.filter_map(|event| event["count"].as_u64()).sum();
    counted + events.iter().filter(|event| event["event"] == "session").count() as u64
}

#[test]
fn refusals_are_counted_at_a_stop_and_service_removal() {
    const CLIENTS: usize = 60;
    let (port, other_port) = (free_port(), free_port());
    let denied = service(port, "socket", "'line'", "deny = ['192.0.2.0/24']\nrefusal = 'busy'\n");
    let refuse_all = || {
        let clients: Vec<_> = (0..CLIENTS).map(|_| named(port)).collect();
        for mut client in clients {
            assert_eq!(client.read_until_gone(), b"busy");
        }
    };
    let daemon = Builder::native(&denied).start();
    refuse_all();
    let finished = daemon.stop();
    let mut events = finished.events("session");
    events.extend(finished.events("refusals"));
    assert_eq!(told(&events), CLIENTS as u64, "{}", finished.errors);
    let daemon = Builder::native(&(denied + &other(other_port))).start();
    refuse_all();
    daemon.rewrite(&other(other_port));
    daemon.reload();
    let finished = daemon.stop();
    let mut events = finished.events("session");
    events.extend(finished.events("refusals"));
    assert_eq!(told(&events), CLIENTS as u64, "{}", finished.errors);
}
