//! Warm programs start before their clients: the configured number waits, a client gets a waiting
//! program, and none is left behind. Failures are in `warm_failures.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::proxy::{v1, v2};
use testkit::{Builder, Client, Daemon, Gate, Value, Visitor, free_port};

fn service(port: u16, warm: usize, command: &str, more: &str) -> String {
    format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\nwarm = {warm}\n{more}")
}

fn echo(gate: &Gate) -> String {
    format!("'visit', '{}', 'echo'", gate.address())
}

fn visitors<const COUNT: usize>(gate: &Gate) -> [Visitor; COUNT] {
    [(); COUNT].map(|()| gate.visitor())
}

fn record(daemon: &Daemon, client: Client) -> Value {
    let port = client.port();
    drop(client);
    daemon.record(port)
}

#[test]
fn warm_programs_match_the_file_and_serve_clients() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&service(port, 2, &echo(&gate), "")).start();
    let mut pids = visitors::<2>(&gate).map(|visitor| visitor.pid).to_vec();
    for _ in 0..3 {
        daemon.warm("a", 2);
        let mut client = Client::connect(port);
        assert_eq!(client.send(b"hello").read_exact(5), b"hello");
        // The server has started a replacement.
        pids.push(gate.visitor().pid);
        assert_eq!(client.half_close().read_all(), b"");
        let record = record(&daemon, client);
        assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &0.into()), "{record}");
        // One of the two oldest, because two programs started together.
        let place = pids.iter().position(|pid| record["pid"] == *pid).unwrap();
        assert!(place < 2, "{place} of {pids:?}");
        pids.remove(place);
    }
    daemon.warm("a", 2);
}

#[test]
fn clients_for_whom_none_waits_are_served_all_the_same() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&service(port, 1, &echo(&gate), "")).start();
    daemon.warm("a", 1);
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(port)).collect();
    for client in &mut clients {
        assert_eq!(client.send(b"hello").half_close().read_all(), b"hello");
    }
    let mut pids: Vec<_> =
        clients.into_iter().map(|client| record(&daemon, client)["pid"].as_u64()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 10, "one program, one client");
    daemon.warm("a", 1);
}

#[test]
fn a_program_that_waits_knows_its_service_and_no_client() {
    let port = free_port();
    let daemon = Builder::native(&service(port, 1, "'waits', 'environment'", ""))
        .variable("CLIENT_IP", "inherited")
        .variable("WININETD_SESSION", "inherited")
        .start();
    daemon.warm("a", 1);
    let text = Client::connect(port).send(b"\n").read_text();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
    for line in ["PROTO=TCP", "WININETD_SERVICE=a"] {
        assert!(text.lines().any(|other| other.trim_end() == line), "{line} in {text}");
    }
    for name in ["CLIENT_IP", "CLIENT_PORT", "TCPREMOTEIP", "TCPLOCALIP", "REMOTE_ADDR", "WININETD_SESSION"] {
        assert!(!names.contains(&name), "{name} in {text}");
    }
}

#[test]
fn header_names_the_client_for_warm_and_cold_programs() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&service(port, 1, &echo(&gate), "warm_header = true\n")).start();
    daemon.warm("a", 1);
    let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(port)).collect();
    for client in &mut clients {
        let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\n", client.port());
        assert_eq!(client.send(b"hello").half_close().read_text(), format!("{header}hello"));
    }
}

#[test]
fn the_header_of_a_program_names_the_client_of_a_proxy() {
    let (port, gate) = (free_port(), Gate::new());
    let more = "warm_header = true\nproxy_protocol = ['127.0.0.1']\ndeny = ['192.0.2.66']\n";
    let daemon = Builder::native(&service(port, 1, &echo(&gate), more)).start();
    for (client, local, family) in
        [("192.0.2.7:4711", "198.51.100.1:443", "TCP4"), ("[2001:db8::7]:4711", "[2001:db8::1]:443", "TCP6")]
    {
        for header in [v1(client, local), v2(client, local)] {
            daemon.warm("a", 1);
            let mut stream = Client::connect(port);
            let text = stream.send(&header).send(b"hello").half_close().read_text();
            assert!(text.starts_with(&format!("PROXY {family} ")), "{text}");
            assert_eq!(text.as_bytes(), [&v1(client, local)[..], b"hello"].concat());
            assert_eq!(record(&daemon, stream)["client"], client);
        }
    }
    // A refused client takes no warm program.
    daemon.warm("a", 1);
    // The first program and the replacements of four that were taken.
    (0..5).for_each(|_| drop(gate.visitor()));
    for header in [v1("192.0.2.66:1", "198.51.100.1:443"), b"GET /".to_vec()] {
        let mut stream = Client::connect(port);
        assert!(stream.send(&header).is_turned_away());
        assert_eq!(record(&daemon, stream)["pid"], Value::Null);
    }
    daemon.warm("a", 1);
    assert!(!gate.is_visited(), "one was taken");
}

#[cfg(feature = "tls")]
#[test]
fn programs_wait_for_clients_of_tls_as_well() {
    use testkit::tls::{Authority, Client, Version};
    let (port, authority, gate) = (free_port(), Authority::new(), Gate::new());
    let more = "warm_header = true\ntls = { certificate = 'cert.pem', key = 'key.pem' }\n";
    let builder = Builder::native(&service(port, 1, &echo(&gate), more));
    authority.server("localhost").write(builder.folder());
    let daemon = builder.start();
    for version in [Version::V12, Version::V13] {
        daemon.warm("a", 1);
        let waiting = gate.visitor();
        let mut client = Client::new(&authority, version).connect(port).unwrap();
        let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\n", client.port());
        assert_eq!(client.send(b"hello").half_close().read_text(), format!("{header}hello"));
        let client_port = client.port();
        drop(client);
        assert_eq!(daemon.record(client_port)["pid"], waiting.pid);
    }
}

#[test]
fn warm_output_goes_to_the_client_and_stderr_to_the_log() {
    let port = free_port();
    let daemon = Builder::native(&service(port, 1, "'early', 'welcome ', 'I wait', 'echo'", "")).start();
    let complaint = daemon.event("stderr", |_| true);
    assert_eq!((&complaint["service"], &complaint["line"]), (&"a".into(), &"I wait".into()), "{complaint}");
    assert_eq!(complaint["session"], Value::Null, "{complaint}");
    daemon.warm("a", 1);
    assert_eq!(Client::connect(port).send(b"you").half_close().read_text(), "welcome you");
}

#[test]
fn stderr_of_a_warm_program_names_its_clients_session() {
    let port = free_port();
    let daemon = Builder::native(&service(port, 1, "'waits', 'complain', 'alas'", "")).start();
    daemon.warm("a", 1);
    let mut client = Client::connect(port);
    assert_eq!(client.send(b"\n").read_all(), b"");
    let record = record(&daemon, client);
    daemon.event("stderr", |event| event["line"] == "alas" && event["session"] == record["session"]);
}

#[test]
fn limits_hold_although_programs_wait() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&service(port, 3, &echo(&gate), "max_connections = 1\n")).start();
    daemon.warm("a", 3);
    let mut first = Client::connect(port);
    assert_eq!(first.send(b"hello").read_exact(5), b"hello");
    let mut second = Client::connect(port);
    second.send(b"hello").receives_nothing_for(Duration::from_millis(300));
    drop(first);
    assert_eq!(second.half_close().read_all(), b"hello");
}

#[test]
fn reload_replaces_the_warm_programs() {
    let (port, gate, other_gate) = (free_port(), Gate::new(), Gate::new());
    let daemon = Builder::native(&service(port, 3, &echo(&gate), "")).start();
    daemon.warm("a", 3);
    let mut before = Client::connect(port);
    assert_eq!(before.send(b"hello").read_exact(5), b"hello");
    // One program has a client and a replacement.
    let waiting = visitors::<4>(&gate);
    daemon.warm("a", 3);
    daemon.rewrite(&service(port, 2, &format!("'visit', '{}', 'count'", other_gate.address()), ""));
    daemon.reload();
    let new = visitors::<2>(&other_gate).map(|visitor| visitor.pid);
    daemon.warm("a", 2);
    let pid = daemon.service("a")["sessions"][0]["pid"].as_u64();
    for visitor in waiting {
        if Some(u64::from(visitor.pid)) != pid {
            visitor.wait_gone();
        }
    }
    let mut after = Client::connect(port);
    assert_eq!(after.send(b"hello").half_close().read_text(), "5\n");
    let record = record(&daemon, after);
    assert!(new.iter().any(|pid| record["pid"] == *pid), "{record} of {new:?}");
    assert_eq!(before.send(b" again").half_close().read_all(), b" again");
}

#[test]
fn client_accepted_before_a_reload_gets_the_old_program() {
    let port = free_port();
    let text = |word: &str| {
        service(port, 1, &format!("'waits', 'say', '{word}'"), "proxy_protocol = ['127.0.0.1']\n")
    };
    let daemon = Builder::native(&text("old")).start();
    daemon.warm("a", 1);
    let mut before = Client::connect(port);
    while daemon.service("a")["live"] != 1 {
        daemon.wait_a_moment();
    }
    daemon.rewrite(&text("new"));
    daemon.reload();
    daemon.warm("a", 1);
    let header = v1("192.0.2.7:1", "198.51.100.1:443");
    assert_eq!(before.send(&header).send(b"\n").read_text(), "old");
    assert_eq!(Client::connect(port).send(&header).send(b"\n").read_text(), "new");
}

#[test]
fn reload_that_drops_warm_leaves_no_warm_program() {
    let (port, gate) = (free_port(), Gate::new());
    let without = format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'echo']\n");
    for after in [&without, ""] {
        let daemon = Builder::native(&service(port, 2, &echo(&gate), "")).start();
        let waiting = visitors::<2>(&gate);
        daemon.warm("a", 2);
        daemon.rewrite(after);
        daemon.reload();
        waiting.into_iter().for_each(Visitor::wait_gone);
        assert!(!gate.is_visited(), "another was started");
    }
}

#[test]
fn a_stop_ends_those_that_wait_at_once() {
    let (port, gate) = (free_port(), Gate::new());
    let text = format!("[server]\nstop_grace = '50s'\n{}", service(port, 3, &echo(&gate), ""));
    let daemon = Builder::native(&text).start();
    let waiting = visitors::<3>(&gate);
    daemon.warm("a", 3);
    let began = Instant::now();
    assert_eq!(daemon.stop().code, Some(0));
    waiting.into_iter().for_each(Visitor::wait_gone);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn unresponsive_warm_program_is_killed_with_its_tree() {
    let (port, gate) = (free_port(), Gate::new());
    let command = format!("'deaf', '{}'", gate.address());
    let text = format!("[server]\nstop_grace = '0s'\n{}", service(port, 1, &command, "kill_grace = '7s'\n"));
    let daemon = Builder::native(&text).start();
    let tree = visitors::<2>(&gate);
    daemon.warm("a", 1);
    let began = Instant::now();
    assert_eq!(daemon.stop().code, Some(0));
    tree.into_iter().for_each(Visitor::wait_gone);
    // The warm program gets its grace period although no session has one.
    assert!(began.elapsed() >= Duration::from_millis(6900), "{:?}", began.elapsed());
}

#[test]
fn killed_server_leaves_no_warm_program() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&service(port, 3, &echo(&gate), "")).start();
    let waiting = visitors::<3>(&gate);
    daemon.warm("a", 3);
    daemon.kill();
    waiting.into_iter().for_each(Visitor::wait_gone);
}
