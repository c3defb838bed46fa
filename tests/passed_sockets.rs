//! Sockets that a service manager opens and passes: the server uses each for a matching address. It
//! opens a bare port at no other address.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;

use testkit::{Builder, Client, Daemon, free_port, probe_line};

/// Passes these sockets to the daemon, as a service manager does.
fn with_sockets(builder: Builder, sockets: Vec<OwnedFd>) -> Builder {
    let count = sockets.len();
    let script = format!("LISTEN_PID=$$ LISTEN_FDS={count}; export LISTEN_PID LISTEN_FDS; exec \"$@\"");
    builder.through(&["sh", "-c", &script, "sh"]).command(|command| {
        // SAFETY: dup2 and fcntl are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                // High copies first, so that dup2 overwrites none of the sockets.
                let copies: Vec<RawFd> = sockets
                    .iter()
                    .map(|socket| libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD, 100))
                    .collect();
                for (number, copy) in (3..).zip(copies) {
                    libc::dup2(copy, number);
                    libc::close(copy);
                }
                Ok(())
            });
        }
    })
}

fn listener(address: &str, port: u16, v6_only: bool) -> OwnedFd {
    let address: SocketAddr = format!("{address}:{port}").parse().unwrap();
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(v6_only).unwrap();
    }
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

#[test]
fn sockets_that_are_passed_are_used_for_the_matching_ports() {
    let (first, second) = (free_port(), free_port());
    let sockets = vec![listener("127.0.0.1", first, false), listener("127.0.0.1", second, false)];
    let lines = [probe_line(first, "say first"), probe_line(second, "say second")];
    let daemon = with_sockets(Builder::new(&lines), sockets).start();
    let ready = daemon.event("ready", |_| true);
    assert_eq!(
        ready["listen"],
        serde_json::json!([format!("127.0.0.1:{first}"), format!("127.0.0.1:{second}")])
    );
    assert_eq!(Client::connect(first).read_text(), "first");
    assert_eq!(Client::connect(second).read_text(), "second");
}

#[test]
fn dual_stack_socket_serves_both_and_shows_ipv4_as_ipv4() {
    let port = free_port();
    let lines = [probe_line(port, "environment")];
    let daemon = with_sockets(Builder::new(&lines), vec![listener("[::]", port, false)]).start();
    assert_eq!(daemon.event("ready", |_| true)["listen"], serde_json::json!([format!("[::]:{port}")]));
    let mut client = Client::connect(port);
    let environment = client.read_text();
    assert!(environment.contains("CLIENT_IP=127.0.0.1\n"), "{environment}");
    assert!(environment.contains("TCPLOCALIP=127.0.0.1\n"), "{environment}");
    assert!(!environment.contains("LISTEN_FDS"), "{environment}");
    let client_port = client.port();
    drop(client);
    assert_eq!(daemon.record(client_port)["peer"], format!("127.0.0.1:{client_port}"));
}

#[test]
fn unwanted_passed_socket_is_closed_with_a_warning() {
    let (port, other) = (free_port(), free_port());
    let unwanted = listener("127.0.0.1", other, false);
    let daemon = with_sockets(Builder::new(&[probe_line(port, "say yes")]), vec![unwanted]).start();
    daemon
        .event("configuration", |event| event["message"].to_string().contains(&format!("127.0.0.1:{other}")));
    assert!(TcpListener::bind(("127.0.0.1", other)).is_ok());
    assert_eq!(Client::connect(port).read_text(), "yes");
}

#[test]
fn descriptors_that_are_no_listeners_are_told_and_not_served() {
    let port = free_port();
    let (file, _other) = UnixDatagram::pair().unwrap();
    let daemon = with_sockets(Builder::new(&[probe_line(port, "say yes")]), vec![file.into()]).start();
    daemon.event("configuration", |event| event["message"].to_string().contains("descriptor 3"));
    assert_eq!(Client::connect(port).read_text(), "yes");
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let (port, other) = (free_port(), free_port());
    let passed = listener("127.0.0.1", other, false);
    let builder = with_sockets(Builder::new(&[probe_line(port, "say yes")]), vec![passed]);
    let daemon = builder.through(&["sh", "-c", "LISTEN_PID=1; exec \"$@\"", "sh"]).start();
    assert!(!daemon.text().contains(&other.to_string()), "{}", daemon.text());
}

#[test]
fn reload_opens_a_bare_port_only_at_passed_addresses() {
    let (port, other) = (free_port(), free_port());
    let builder = Builder::new(&[probe_line(port, "say before")]);
    let daemon = with_sockets(builder, vec![listener("127.0.0.1", port, false)]).start();
    assert_eq!(Client::connect(port).read_text(), "before");
    let lines = [probe_line(port, "say after"), probe_line(other, "say other")].join("\n");
    std::fs::write(daemon.file("wininetd.conf"), lines + "\n").unwrap();
    daemon.reload();
    assert_eq!(Client::connect(port).read_text(), "after");
    assert_eq!(Client::connect(other).read_text(), "other");
    assert!(std::net::TcpStream::connect(("127.0.0.2", port)).is_err());
    assert!(std::net::TcpStream::connect(("::1", port)).is_err());
    let listen = daemon.service(&port.to_string())["listen"].clone();
    assert_eq!(listen, serde_json::json!([format!("127.0.0.1:{port}")]));
}

fn unix_listener(path: &Path) -> OwnedFd {
    let socket = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o622)).unwrap();
    socket.into()
}

fn at_socket(path: &Path, more: &str) -> String {
    format!("[service.a]\nlisten = 'unix:{}'\ncommand = ['@', 'line']\n{more}", path.display())
}

fn answer_of(mut client: UnixStream) -> String {
    client.write_all(b"x\n").unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_passed_unix_socket_serves_the_client_that_activated_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let passed = vec![unix_listener(&path)];
    let before = std::fs::metadata(&path).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    let text = at_socket(&path, "socket_mode = '0600'\n");
    let daemon = with_sockets(Builder::native(&text), passed).start();
    assert_eq!(answer_of(client), "x\n");
    let record = &daemon.records(1)[0];
    assert_eq!(record["peer"], format!("unix:uid={}", before.uid()));
    assert_eq!(record["local"], format!("unix:{}", path.display()));
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()), "it is the manager's");
    assert_eq!(daemon.stop().code, Some(0));
    assert!(path.exists(), "what was passed is not removed");
}

#[test]
fn a_passed_unix_socket_is_known_by_another_name_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let passed = vec![unix_listener(&real.join("s.sock"))];
    let client = UnixStream::connect(real.join("s.sock")).unwrap();
    let text = at_socket(&link.join("s.sock"), "");
    let _daemon = with_sockets(Builder::native(&text), passed).start();
    assert_eq!(answer_of(client), "x\n");
}

#[test]
fn passed_unix_socket_survives_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let text = at_socket(&path, "");
    let daemon = with_sockets(Builder::native(&text), vec![unix_listener(&path)]).start();
    let before = std::fs::metadata(&path).unwrap();
    for more in ["", "socket_mode = '0666'\n", "max_connections = 3\n"] {
        daemon.rewrite(&at_socket(&path, more));
        daemon.reload();
        assert_eq!(answer_of(UnixStream::connect(&path).unwrap()), "x\n");
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    }
    daemon.rewrite("# no services\n");
    daemon.reload();
    assert!(UnixStream::connect(&path).is_err());
    assert!(path.exists());
    daemon.rewrite(&text);
    daemon.reload();
    assert_eq!(answer_of(UnixStream::connect(&path).unwrap()), "x\n");
}

#[test]
fn unwanted_passed_unix_socket_is_closed_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let port = free_port();
    let builder = Builder::new(&[probe_line(port, "say yes")]);
    let daemon = with_sockets(builder, vec![unix_listener(&path)]).start();
    let said = format!("a socket for unix:{}", path.display());
    daemon.event("configuration", |event| event["message"].to_string().contains(&said));
    assert!(UnixStream::connect(&path).is_err());
    assert_eq!(Client::connect(port).read_text(), "yes");
}

/// Checks a port for which the service manager passed only a socket at 127.0.0.1.
fn is_open_at_127_0_0_1_only(daemon: &Daemon, port: u16) {
    assert_eq!(Client::connect(port).read_text(), "yes");
    assert!(std::net::TcpStream::connect(("127.0.0.2", port)).is_err());
    assert!(std::net::TcpStream::connect(("::1", port)).is_err());
    let listen = daemon.service(&port.to_string())["listen"].clone();
    assert_eq!(listen, serde_json::json!([format!("127.0.0.1:{port}")]));
}

#[test]
fn bare_port_put_back_opens_only_at_passed_addresses() {
    let (port, other) = (free_port(), free_port());
    let both = [probe_line(port, "say yes"), probe_line(other, "say other")];
    let passed = vec![listener("127.0.0.1", port, false)];
    let daemon = with_sockets(Builder::new(&both), passed).start();
    let serve = |lines: &[String]| {
        std::fs::write(daemon.file("wininetd.conf"), lines.join("\n") + "\n").unwrap();
        daemon.reload();
    };
    for _ in 0..2 {
        serve(&both[1..]);
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
        serve(&both);
        is_open_at_127_0_0_1_only(&daemon, port);
        // A second reload keeps the listener that the first reload bound.
        serve(&both);
        is_open_at_127_0_0_1_only(&daemon, port);
    }
}

#[test]
fn bare_port_added_later_opens_only_at_passed_addresses() {
    let (port, other) = (free_port(), free_port());
    let passed = vec![listener("127.0.0.1", port, false)];
    let daemon = with_sockets(Builder::new(&[probe_line(other, "say other")]), passed).start();
    daemon.event("configuration", |event| event["message"].to_string().contains(&port.to_string()));
    std::fs::write(daemon.file("wininetd.conf"), probe_line(port, "say yes") + "\n").unwrap();
    daemon.reload();
    is_open_at_127_0_0_1_only(&daemon, port);
}

#[test]
fn dual_stack_port_put_back_serves_both_families() {
    let (port, other) = (free_port(), free_port());
    let both = [probe_line(port, "say yes"), probe_line(other, "say other")];
    let daemon = with_sockets(Builder::new(&both), vec![listener("[::]", port, false)]).start();
    for lines in [&both[1..], &both[..]] {
        std::fs::write(daemon.file("wininetd.conf"), lines.join("\n") + "\n").unwrap();
        daemon.reload();
    }
    assert_eq!(Client::connect(port).read_text(), "yes");
    assert!(std::net::TcpStream::connect(("::1", port)).is_ok());
}
