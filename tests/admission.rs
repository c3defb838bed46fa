//! Access rules, limits and rate limits of the native file: a refused client gets the configured
//! text, and other clients are served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use testkit::channel::exchange;
use testkit::{Builder, Client, Gate, Held, free_port};

fn from(last: u8, port: u16) -> Client {
    Client::connect_from((Ipv4Addr::new(127, 0, 0, last), 0), port).unwrap()
}

#[test]
fn access_rules_match_addresses_and_records_name_the_rule() {
    let port = free_port();
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'say', 'in']\n\
         allow = ['127.0.0.0/24']\ndeny = ['127.0.0.8/31', '127.0.0.0/25']\n"
    ));
    let daemon = daemon.start();
    assert_eq!(from(200, port).read_text(), "in");
    for (last, rule) in [(8, "deny 127.0.0.8/31"), (1, "deny 127.0.0.0/25")] {
        let mut client = from(last, port);
        assert!(client.is_turned_away());
        let record = daemon.record(client.port());
        assert_eq!((&record["outcome"], &record["reason"]), (&"refused".into(), &rule.into()));
        assert_eq!(record["pid"], serde_json::Value::Null);
    }
    let explained = daemon.ask(&["--explain", "127.0.0.8"]);
    assert!(explained.output.contains("deny 127.0.0.8/31"), "{}", explained.output);
    let counts = daemon.service("a");
    assert_eq!((&counts["served"], &counts["refused"]), (&1.into(), &2.into()));
}

#[test]
fn a_source_over_its_limit_gets_a_word_and_others_are_served() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'gate', '{}']\n\
         max_connections_per_source = 2\nrefusal = \"busy, try later\\r\\n\"\nbanner = \"welcome\\r\\n\"\n",
        gate.address()
    ))
    .start();
    let mut clients = [from(1, port), from(1, port)];
    let held = [gate.visitor(), gate.visitor()];
    assert_eq!(from(1, port).read_text(), "busy, try later\r\n");
    let mut other = from(2, port);
    drop(gate.visitor());
    assert_eq!(other.read_text(), "welcome\r\n");
    drop(held);
    assert_eq!(clients[0].read_text(), "welcome\r\n");
    assert_eq!(clients[1].read_text(), "welcome\r\n");
    let ports = clients.each_ref().map(Client::port);
    drop(clients);
    for client_port in ports {
        daemon.record(client_port);
    }
    let mut again = from(1, port);
    drop(gate.visitor());
    assert_eq!(again.read_text(), "welcome\r\n");
}

#[test]
fn a_full_service_refuses_or_lets_wait_as_it_says() {
    let (waits, refuses, gate) = (free_port(), free_port(), Gate::new());
    let service = |name: &str, port: u16, when: &str| {
        format!(
            "[service.{name}]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'gate', '{}']\n\
             max_connections = 1\nwhen_full = '{when}'\n",
            gate.address()
        )
    };
    let text = service("waits", waits, "wait") + &service("refuses", refuses, "refuse");
    let daemon = Builder::native(&text).start();
    let first = Client::connect(refuses);
    let held = gate.visitor();
    let mut second = Client::connect(refuses);
    assert!(second.is_turned_away());
    assert_eq!(daemon.record(second.port())["reason"], "max_connections");
    drop((held, first));
    let mut first = Client::connect(waits);
    let held = gate.visitor();
    let mut second = Client::connect(waits);
    second.receives_nothing_for(Duration::from_millis(200));
    drop(held);
    assert_eq!(first.read_all(), b"");
    drop(first);
    drop(gate.visitor());
    assert_eq!(second.read_all(), b"");
}

#[test]
fn rate_limits_delay_a_service_and_refuse_a_single_source() {
    let (port, other_port) = (free_port(), free_port());
    let _daemon = Builder::native(&format!(
        "[service.delays]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'say', 'x']\nrate = '3/s'\n\
         [service.refuses]\nlisten = '127.0.0.1:{other_port}'\ncommand = ['@', 'say', 'y']\nrate_per_source = '2/h'\n"
    ))
    .start();
    let began = Instant::now();
    for _ in 0..6 {
        assert_eq!(Client::connect(port).read_text(), "x");
    }
    // The burst is three connections. Three more follow at a third of a second each.
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
    for _ in 0..2 {
        assert_eq!(from(1, other_port).read_text(), "y");
    }
    assert!(from(1, other_port).is_turned_away());
    assert_eq!(from(2, other_port).read_text(), "y");
}

#[test]
fn limits_hold_under_flood_without_slowing_another_service() {
    const LIMIT: usize = 8;
    let (port, quiet) = (free_port(), free_port());
    let daemon = Builder::native(&format!(
        "[service.flooded]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'count']\n\
         max_connections = {LIMIT}\nmax_connections_per_source = 2\nwhen_full = 'refuse'\nrate_per_source = '2/s'\n\
         [service.quiet]\nlisten = '127.0.0.1:{quiet}'\ncommand = ['@', 'line']\n"
    ))
    .start();
    let serve_quiet = || assert_eq!(Client::connect(quiet).send(b"hello\n").read_text(), "hello\n");
    serve_quiet();
    let time = Duration::from_secs(if cfg!(windows) { 5 } else { 3 });
    let until = Instant::now() + time;
    let before = Held::by(daemon.pid());
    let (mut most_memory, mut answers) = (0, Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                let mut kept = std::collections::VecDeque::new();
                for round in 0u32.. {
                    if Instant::now() >= until {
                        break;
                    }
                    let [_, high, middle, low] = (round * 4 + u32::from(thread)).to_be_bytes();
                    let source = (Ipv4Addr::new(127, high % 200 + 1, middle, low), 0);
                    // The system may briefly run out of ports.
                    kept.extend(Client::connect_from(source, port).ok());
                    if kept.len() > 20 {
                        kept.pop_front();
                    }
                }
            });
        }
        while Instant::now() < until {
            let asked = Instant::now();
            let answer = exchange(&daemon.control(), br#"{"version":1,"request":"status"}"#);
            let answered = asked.elapsed();
            let status: serde_json::Value = serde_json::from_str(&answer).unwrap();
            let live = status["body"]["services"][0]["live"].as_u64().unwrap();
            assert!(live <= LIMIT as u64, "{live} at once");
            answers.push(answered);
            let held = Held::by(daemon.pid());
            assert!(held.children <= LIMIT + 2, "{held:?}");
            most_memory = most_memory.max(held.kibibytes);
            serve_quiet();
        }
    });
    answers.sort_unstable();
    let (median, worst) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    assert!(median < ANSWERED_WITHIN, "the status comes after {median:?}");
    // The test shares the machine with four threads of the flood, so one answer may be late.
    assert!(worst < 10 * ANSWERED_WITHIN, "the status came after {worst:?}");
    let counts = daemon.service("flooded");
    assert!(counts["refused"].as_u64().unwrap() > 100, "{counts}");
    assert!(most_memory < before.kibibytes + 16 * 1024, "{most_memory} of {before:?}");
    let finished = daemon.stop();
    let sum: u64 = finished.events("refusals").iter().map(|event| event["count"].as_u64().unwrap()).sum();
    let records =
        finished.events("session").iter().filter(|event| event["outcome"] == "refused").count() as u64;
    assert!(records < 200, "{records} records of their own");
    assert!(sum + records >= counts["refused"].as_u64().unwrap());
}

/// Under Wine, wineserver takes part in each connection of the flood.
const ANSWERED_WITHIN: Duration = Duration::from_millis(if cfg!(windows) { 3000 } else { 100 });
