//! A client behind a proxy: the PROXY header names the client, and rules, limits and records refer
//! to that client. Invalid and missing headers are in `proxy_refused.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::proxy::{LOCAL, PROXY, v1, v2, v2_of};
use testkit::{Builder, Client, Daemon, Gate, Value, free_port};

const BINDINGS: [&str; 2] = ["socket", "pipe"];

const CLIENT: &str = "192.0.2.7:4711";
const LOCAL_SIDE: &str = "198.51.100.1:443";

/// A service with this program that trusts this host as a proxy.
fn service(port: u16, stdio: &str, command: &str, more: &str) -> String {
    format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\nstdio = '{stdio}'\n\
         proxy_protocol = ['127.0.0.0/8']\n{more}"
    )
}

fn headers(client: &str, local: &str) -> [Vec<u8>; 2] {
    [v1(client, local), v2(client, local)]
}

fn named(port: u16, client: &str) -> Client {
    let mut stream = Client::connect(port);
    stream.send(&v1(client, LOCAL_SIDE));
    stream
}

fn record(daemon: &Daemon, client: Client) -> Value {
    let port = client.port();
    drop(client);
    daemon.record(port)
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|other| other.trim_end() == line)
}

#[test]
fn data_after_a_header_arrives_whole_however_it_is_split() {
    for stdio in BINDINGS {
        let port = free_port();
        let _daemon = Builder::native(&service(port, stdio, "'echo'", "")).start();
        for header in headers(CLIENT, LOCAL_SIDE) {
            let whole = [&header[..], b"hello"].concat();
            let mut in_one = Client::connect(port);
            assert_eq!(in_one.send(&whole).half_close().read_all(), b"hello");
            let mut in_two = Client::connect(port);
            in_two.send(&header).send(b"hello");
            assert_eq!(in_two.read_exact(5), b"hello");
            assert_eq!(in_two.half_close().read_all(), b"");
            let mut in_bytes = Client::connect(port);
            assert_eq!(in_bytes.send_each(&whole).half_close().read_all(), b"hello");
        }
    }
}

#[test]
fn much_that_follows_in_the_same_segment_is_not_lost() {
    for stdio in BINDINGS {
        let port = free_port();
        let _daemon = Builder::native(&service(port, stdio, "'count'", "")).start();
        for mut stream in headers(CLIENT, LOCAL_SIDE) {
            stream.extend([7; 200_000]);
            assert_eq!(Client::connect(port).send(&stream).half_close().read_text(), "200000\n");
        }
    }
}

#[test]
fn program_environment_names_the_client_in_the_header() {
    for stdio in BINDINGS {
        let port = free_port();
        let daemon = Builder::native(&service(port, stdio, "'environment'", "")).start();
        let addresses = [
            (CLIENT, LOCAL_SIDE, ["192.0.2.7", "4711", "198.51.100.1", "443"]),
            ("[2001:db8::7]:4711", "[2001:db8::1]:443", ["2001:db8::7", "4711", "2001:db8::1", "443"]),
        ];
        for (client, local, [ip, client_port, local_ip, local_port]) in addresses {
            for header in headers(client, local) {
                let mut stream = Client::connect(port);
                let text = stream.send(&header).read_text();
                // The next connection must be the only one of its source.
                record(&daemon, stream);
                for name in ["CLIENT_IP", "TCPREMOTEIP", "REMOTE_ADDR", "REMOTE_HOST"] {
                    assert!(has(&text, &format!("{name}={ip}")), "{name} in {text}");
                }
                for name in ["CLIENT_PORT", "TCPREMOTEPORT", "REMOTE_PORT"] {
                    assert!(has(&text, &format!("{name}={client_port}")), "{name} in {text}");
                }
                assert!(has(&text, &format!("TCPLOCALIP={local_ip}")), "{text}");
                assert!(has(&text, &format!("TCPLOCALPORT={local_port}")), "{text}");
                assert!(has(&text, "TCPCONNNUM=1") && has(&text, "PROTO=TCP"), "{text}");
            }
        }
    }
}

#[test]
fn record_names_client_and_peer_and_excludes_header_bytes() {
    for stdio in BINDINGS {
        let port = free_port();
        let daemon = Builder::native(&service(port, stdio, "'echo'", "")).start();
        let mut client = named(port, CLIENT);
        assert_eq!(client.send(b"hello").half_close().read_all(), b"hello");
        let record = daemon.record(client.port());
        assert_eq!((&record["client"], &record["outcome"]), (&CLIENT.into(), &"served".into()), "{record}");
        assert_eq!(record["peer"], format!("127.0.0.1:{}", client.port()));
        // Not every kernel counts the bytes of a socket.
        if record["bytes_in"] != Value::Null {
            // The kernel counts the client's end of file as one byte.
            assert!(matches!(record["bytes_in"].as_u64(), Some(5 | 6)), "{record}");
        }
    }
}

#[test]
fn the_status_names_the_client() {
    for stdio in BINDINGS {
        let (port, gate) = (free_port(), Gate::new());
        let command = format!("'gate', '{}'", gate.address());
        let daemon = Builder::native(&service(port, stdio, &command, "")).start();
        let mut client = named(port, CLIENT);
        let visitor = gate.visitor();
        assert_eq!(visitor.client_port, "4711");
        let status = daemon.service("a");
        assert_eq!(status["sessions"][0]["client"], CLIENT, "{status}");
        assert_eq!(status["sessions"][0]["pid"], visitor.pid, "{status}");
        drop(visitor);
        assert_eq!(client.read_all(), b"");
    }
}

#[test]
fn access_rules_use_the_header_client_and_send_the_refusal() {
    for stdio in BINDINGS {
        let (port, gate) = (free_port(), Gate::new());
        let more = "allow = ['192.0.2.0/24']\ndeny = ['192.0.2.66']\nrefusal = \"not you\\r\\n\"\n";
        let command = format!("'gate', '{}'", gate.address());
        let daemon = Builder::native(&service(port, stdio, &command, more)).start();
        let denied = "deny 192.0.2.66/32";
        for (client, why) in
            [("192.0.2.66:1", denied), ("198.51.100.9:1", "allow"), ("[2001:db8::1]:1", "allow")]
        {
            let mut stream = Client::connect(port);
            let local = if client.starts_with('[') { "[::1]:1" } else { LOCAL_SIDE };
            assert_eq!(stream.send(&v2(client, local)).send(b"hello").read_text(), "not you\r\n");
            let record = daemon.record(stream.port());
            assert_eq!((&record["outcome"], &record["pid"]), (&"refused".into(), &Value::Null), "{record}");
            assert_eq!(record["client"], client, "{record}");
            assert!(record["reason"].as_str().unwrap().contains(why), "{record}");
        }
        assert!(!gate.is_visited(), "the program ran");
        let mut allowed = named(port, CLIENT);
        drop(gate.visitor());
        assert_eq!(allowed.read_all(), b"");
        assert_eq!(daemon.service("a")["refused"], 3);
        let said = |address| daemon.ask(&["--explain", address]).output;
        let header = "(if the header of a sender names it; otherwise it is closed)";
        assert_eq!(said("192.0.2.66"), format!("a: refuse, {denied} {header}\n"));
        assert_eq!(said("192.0.2.1"), format!("a: admit, allow 192.0.2.0/24 {header}\n"));
        assert!(
            said("127.0.0.1").contains("the address itself is a trusted sender"),
            "{}",
            said("127.0.0.1")
        );
    }
}

#[test]
fn connections_are_counted_by_the_client_and_not_by_the_proxy() {
    let (port, gate) = (free_port(), Gate::new());
    let command = format!("'gate', '{}'", gate.address());
    let daemon =
        Builder::native(&service(port, "socket", &command, "max_connections_per_source = 1\n")).start();
    let clients = [named(port, "192.0.2.1:1"), named(port, "192.0.2.2:1")];
    let held = [gate.visitor(), gate.visitor()];
    let mut second = named(port, "192.0.2.1:2");
    assert!(second.is_turned_away());
    assert_eq!(daemon.record(second.port())["reason"], "max_connections_per_source = 1");
    drop(held);
    for mut client in clients {
        assert_eq!(client.read_all(), b"");
        record(&daemon, client);
    }
    let mut again = named(port, "192.0.2.1:3");
    drop(gate.visitor());
    assert_eq!(again.read_all(), b"");
}

#[test]
fn a_rate_of_a_source_is_that_of_the_client() {
    let port = free_port();
    let daemon = Builder::native(&service(port, "pipe", "'say', 'x'", "rate_per_source = '1/h'\n")).start();
    for client in ["192.0.2.1:1", "192.0.2.2:1"] {
        assert_eq!(named(port, client).read_text(), "x");
    }
    let mut again = named(port, "192.0.2.1:2");
    assert!(again.is_turned_away());
    assert_eq!(daemon.record(again.port())["reason"], "rate_per_source = 1/h");
}

#[test]
fn refused_header_client_consumes_no_rate_token() {
    let port = free_port();
    let more = "rate = '1/h'\nwhen_full = 'refuse'\ndeny = ['192.0.2.66']\n";
    let daemon = Builder::native(&service(port, "pipe", "'say', 'x'", more)).start();
    for _ in 0..3 {
        let mut denied = named(port, "192.0.2.66:1");
        assert!(denied.is_turned_away());
        daemon.record(denied.port());
    }
    assert_eq!(named(port, CLIENT).read_text(), "x");
    let mut late = named(port, CLIENT);
    assert!(late.is_turned_away());
    assert_eq!(daemon.record(late.port())["reason"], "rate = 1/h");
}

#[test]
fn a_header_without_a_client_means_the_peer() {
    for stdio in BINDINGS {
        let port = free_port();
        let daemon = Builder::native(&service(port, stdio, "'environment'", "")).start();
        let headers = [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN 192.0.2.7 192.0.2.8 1 2\r\n".to_vec(),
            v2_of(LOCAL, 0x00, b""),
            v2_of(LOCAL, 0x11, &[1; 12]),
            v2_of(PROXY, 0x31, &[b'/'; 216]),
            v2_of(PROXY, 0x00, b""),
        ];
        for header in headers {
            let mut client = Client::connect(port);
            let text = client.send(&header).read_text();
            assert!(has(&text, "CLIENT_IP=127.0.0.1"), "{text}");
            assert!(has(&text, &format!("CLIENT_PORT={}", client.port())), "{text}");
            assert!(has(&text, &format!("TCPLOCALPORT={port}")), "{text}");
            assert_eq!(record(&daemon, client)["client"], Value::Null);
        }
    }
}

#[test]
fn rules_use_the_peer_if_the_header_names_no_client() {
    let port = free_port();
    let more = "deny = ['127.0.0.1']\nmax_connections_per_source = 1\n";
    let daemon = Builder::native(&service(port, "socket", "'say', 'x'", more)).start();
    let mut local = Client::connect(port);
    assert!(local.send(&v2_of(LOCAL, 0, b"")).is_turned_away());
    assert_eq!(daemon.record(local.port())["reason"], "deny 127.0.0.1/32");
    assert_eq!(named(port, CLIENT).read_text(), "x");
}

#[test]
fn a_banner_follows_the_header() {
    let port = free_port();
    let _daemon = Builder::native(&service(port, "pipe", "'echo'", "banner = 'welcome '\n")).start();
    let mut client = Client::connect(port);
    client.receives_nothing_for(std::time::Duration::from_millis(100));
    assert_eq!(client.send(&v1(CLIENT, LOCAL_SIDE)).send(b"you").half_close().read_text(), "welcome you");
}

#[cfg(feature = "tls")]
#[test]
fn header_before_the_tls_handshake_names_the_client() {
    use testkit::tls::{Authority, Client, Version};
    let (port, authority) = (free_port(), Authority::new());
    let tls = "tls = { certificate = 'cert.pem', key = 'key.pem' }\n";
    let builder = Builder::native(&service(port, "pipe", "'environment'", tls));
    authority.server("localhost").write(builder.folder());
    let _daemon = builder.start();
    for version in [Version::V12, Version::V13] {
        for header in headers(CLIENT, LOCAL_SIDE) {
            let mut client = Client::new(&authority, version).connect_behind(&header, port).unwrap();
            let text = client.read_text();
            assert!(has(&text, "PROTO=SSL") && has(&text, "CLIENT_IP=192.0.2.7"), "{text}");
        }
    }
}

#[cfg(unix)]
#[test]
fn header_names_the_client_behind_a_unix_socket() {
    for stdio in BINDINGS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let daemon = Builder::native(&format!(
            "[service.a]\nlisten = 'unix:{}'\ncommand = ['@', 'environment']\nstdio = '{stdio}'\n\
             proxy_protocol = []\ndeny = ['192.0.2.66']\n",
            path.display()
        ))
        .start();
        let answer = |header: &[u8]| answer_at(&path, header);
        for header in headers(CLIENT, LOCAL_SIDE) {
            let text = answer(&header);
            assert!(has(&text, "PROTO=TCP") && has(&text, "CLIENT_IP=192.0.2.7"), "{text}");
            assert!(has(&text, "TCPLOCALPORT=443") && !text.contains("UNIX"), "{text}");
        }
        let text = answer(&v2_of(LOCAL, 0, b""));
        assert!(has(&text, "PROTO=UNIX") && !text.contains("CLIENT_IP="), "{text}");
        assert_eq!(answer(&v1("192.0.2.66:1", LOCAL_SIDE)), "");
        daemon.event("session", |event| event["reason"] == "deny 192.0.2.66/32");
    }
}

/// A connection through a Unix socket has no address, so no rule of `allow` matches it.
#[cfg(unix)]
#[test]
fn allow_refuses_unix_socket_headers_without_a_client() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = 'unix:{}'\ncommand = ['@', 'say', 'x']\nproxy_protocol = []\n\
         allow = ['192.0.2.7']\n",
        path.display()
    ))
    .start();
    for header in [v2_of(LOCAL, 0, b""), b"PROXY UNKNOWN\r\n".to_vec()] {
        assert_eq!(answer_at(&path, &header), "");
    }
    for record in daemon.records(2) {
        assert_eq!(
            (&record["outcome"], &record["reason"]),
            (&"refused".into(), &"no rule of allow matches".into())
        );
    }
    assert_eq!(answer_at(&path, &v1(CLIENT, LOCAL_SIDE)), "x");
}

/// The answer to a client that sends this header to the Unix socket.
#[cfg(unix)]
fn answer_at(path: &std::path::Path, header: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(testkit::LIMIT)).unwrap();
    stream.write_all(header).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
