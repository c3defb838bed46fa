//! Weaknesses of other servers do not exist here. `docs/cve.md` has the whole list; these tests
//! cover entries without a test elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::Instant;

use testkit::proxy::{PROXY, v1, v2_of};
use testkit::{Builder, Client, Daemon, Gate, Held, LIMIT, free_port, probe};

/// Rounds with one refusal of each kind. Under Wine each takes longer.
const ROUNDS: usize = if cfg!(windows) { 25 } else { 200 };

/// Services that refuse every further client, each for another reason, and their ports.
fn doors(gate: &Gate) -> (Daemon, Vec<u16>) {
    let say = "command = ['@', 'say', 'x']";
    let held = format!("command = ['@', 'gate', '{}']", gate.address());
    let doors = [
        format!("{say}\ndeny = ['127.0.0.1']"),
        format!("{say}\nallow = ['192.0.2.1']\nrefusal = 'no'"),
        format!("{held}\nmax_connections = 1\nwhen_full = 'refuse'"),
        format!("{held}\nmax_connections_per_source = 1"),
        format!("{held}\nrate_per_source = '1/h'"),
        format!("{say}\nproxy_protocol = ['127.0.0.2']"),
        format!("{say}\nproxy_protocol = ['127.0.0.1']"),
        "command = ['@-missing']".to_owned(),
    ];
    let ports: Vec<u16> = doors.iter().map(|_| free_port()).collect();
    let tables = doors.iter().zip(&ports);
    let text: String = tables
        .map(|(keys, port)| format!("[service.s{port}]\nlisten = '127.0.0.1:{port}'\n{keys}\n"))
        .collect();
    (Builder::native(&text).start(), ports)
}

/// Other servers leaked a descriptor or memory with each refusal.
#[test]
fn refused_connections_leave_nothing_behind() {
    let gate = Gate::new();
    let (daemon, ports) = doors(&gate);
    let inside: Vec<_> = ports[2..5].iter().map(|port| (Client::connect(*port), gate.visitor())).collect();
    let rounds = |count: usize| {
        for _ in 0..count {
            for port in &ports {
                let mut client = Client::connect(*port);
                client.send(b"GET / HTTP/1.1\r\n\r\n");
                let answer = client.read_until_gone();
                assert!(answer.is_empty() || answer == b"no", "{}", answer.escape_ascii());
            }
        }
    };
    rounds(ROUNDS / 4);
    let before = Held::by(daemon.pid());
    rounds(ROUNDS);
    let until = Instant::now() + LIMIT;
    while Held::by(daemon.pid()).handles > before.handles + 3 {
        assert!(Instant::now() < until, "before {before:?}, now {:?}", Held::by(daemon.pid()));
        daemon.wait_a_moment();
    }
    let after = Held::by(daemon.pid());
    assert_eq!(after.children, before.children);
    // 200 rounds are 1,600 refusals, so the test detects a leak of half a KiB each.
    assert!(after.kibibytes <= before.kibibytes + 768, "before {before:?}, now {after:?}");
    drop(inside);
}

/// Another server did not switch the account on one of its start paths.
#[test]
fn unavailable_account_starts_nothing_on_any_path() {
    let gate = Gate::new();
    for keys in ["stdio = 'socket'", "stdio = 'pipe'", "warm = 1", "proxy_protocol = ['127.0.0.1']"] {
        let port = free_port();
        let daemon = Builder::native(&format!(
            "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'gate', '{}']\n\
             user = 'nosuchuser'\npassword = 'wrong'\n{keys}\n",
            gate.address()
        ))
        .start();
        if keys.starts_with("warm") {
            daemon.event("service_paused", |_| true);
        }
        let mut client = Client::connect(port);
        if keys.starts_with("proxy") {
            client.send(&v1("192.0.2.7:4711", "198.51.100.1:443"));
        }
        assert!(client.is_turned_away(), "{keys}");
        assert_ne!(daemon.record(client.port())["outcome"], "served", "{keys}");
        assert!(!gate.is_visited(), "{keys}: the program ran");
    }
}

/// In other servers, an invalid user name meant root, or lost its digits.
#[test]
fn numeric_user_is_a_name_and_never_an_id() {
    let (gate, users) = (Gate::new(), ["0", "0day", "00", "4294967296"]);
    let ports: Vec<u16> = users.iter().map(|_| free_port()).collect();
    let program = probe(&format!("gate {}", gate.address()));
    let lines = users.iter().zip(&ports).map(|(user, port)| format!("{port} {user}:x {program}"));
    let daemon = Builder::new(&lines.collect::<Vec<_>>()).start();
    for (user, port) in users.iter().zip(&ports) {
        let mut client = Client::connect(*port);
        assert!(client.is_turned_away());
        let record = daemon.record(client.port());
        assert_eq!((&record["outcome"], &record["user"]), (&"failed".into(), &(*user).into()), "{record}");
    }
    assert!(!gate.is_visited(), "a program ran");
}

/// In other servers, a client's input became an option of the program.
#[test]
fn client_input_reaches_no_argument_and_no_variable() {
    let (port, other) = (free_port(), free_port());
    let keys = "proxy_protocol = ['127.0.0.1']";
    let _daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\n{keys}\n\
         command = ['@', 'arguments', '$CLIENT_IP', '%a', '${{REMOTE_HOST}}', '{{client}}']\n\
         [service.b]\nlisten = '127.0.0.1:{other}'\ncommand = ['@', 'environment']\n{keys}\n"
    ))
    .start();
    // The header contains text in every field that may hold it: the requested name and unknown
    // extensions.
    let mut block = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb].to_vec();
    for extension in [0x02, 0x05, 0xe0] {
        block.extend([extension, 0, 7]);
        block.extend(b"-f root");
    }
    let answer = |port: u16| {
        let mut client = Client::connect(port);
        client.send(&v2_of(PROXY, 0x11, &block)).send(b"USER=-f root\n");
        client.read_text()
    };
    assert_eq!(answer(port), "arguments\n$CLIENT_IP\n%a\n${REMOTE_HOST}\n{client}");
    let environment = answer(other);
    assert!(environment.contains("CLIENT_IP=192.0.2.7\n"), "{environment}");
    assert!(!environment.contains("-f root"), "{environment}");
}

/// Another server had a port that reached every service, including disabled ones.
#[test]
fn disabled_service_is_unreachable() {
    let (port, off) = (free_port(), free_port());
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'say', 'on']\n\
         [service.b]\nlisten = '127.0.0.1:{off}'\ncommand = ['@', 'say', 'off']\nenabled = false\n"
    ))
    .start();
    assert_eq!(Client::connect(port).read_text(), "on");
    assert_eq!(Client::connect(port).send(b"b\r\n").read_text(), "on");
    assert_eq!(daemon.service("b")["listen"], serde_json::json!([]));
    assert!(std::net::TcpStream::connect(("127.0.0.1", off)).is_err());
}

/// In another server, a signal handler that did too much stopped the server.
#[cfg(unix)]
#[test]
fn signal_storm_does_not_stop_the_server() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} none {}", probe("line"))]).without_verb().start();
    let pid = libc::pid_t::try_from(daemon.pid()).unwrap();
    for round in 0..100 {
        let line = format!("{round}\n");
        let mut client = Client::connect(port);
        for signal in [libc::SIGHUP, libc::SIGCHLD, libc::SIGPIPE].repeat(20) {
            // SAFETY: no pointers. The daemon is a child of the test and not reaped.
            unsafe { libc::kill(pid, signal) };
        }
        assert_eq!(client.send(line.as_bytes()).read_text(), line);
    }
    assert_eq!(daemon.stop().code, Some(0));
}
