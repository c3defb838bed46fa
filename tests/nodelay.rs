//! A program's small writes reach its client without the delay of Nagle's algorithm. The server
//! sets TCP_NODELAY if it moves the bytes itself or the service has `nodelay`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Gate, free_port};

/// TCP acknowledges small data at once only in the first rounds of a connection.
const FIRST_ROUNDS: usize = 10;

/// The measured rounds. The test takes their median, because a busy machine delays some rounds and
/// some acknowledgements come early.
const ROUNDS: usize = 21;

/// A delayed acknowledgement takes at least 40 ms.
const DELAYED: Duration = Duration::from_millis(25);

fn service(port: u16, command: &str, keys: &str) -> String {
    format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\n{keys}\n")
}

fn two_parts(gate: &Gate) -> String {
    format!("'streams', 'two-parts', '{}'", gate.address())
}

/// The median time from the program's second write to its arrival. `ask` sends a line, and `read`
/// reads one byte.
fn second_write_takes<T>(
    client: &mut T,
    gate: &Gate,
    ask: impl Fn(&mut T),
    read: impl Fn(&mut T) -> u8,
) -> Duration {
    let mut times = Vec::new();
    for round in 0..FIRST_ROUNDS + ROUNDS {
        ask(client);
        assert_eq!(read(client), b'1');
        let visitor = gate.visitor();
        let began = Instant::now();
        drop(visitor);
        assert_eq!(read(client), b'2');
        if round >= FIRST_ROUNDS {
            times.push(began.elapsed());
        }
    }
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn takes(port: u16, gate: &Gate) -> Duration {
    let mut client = Client::connect(port);
    second_write_takes(&mut client, gate, |client| _ = client.send(b"\n"), |client| client.read_exact(1)[0])
}

#[test]
fn with_pipes_a_second_small_write_is_not_delayed() {
    let (port, gate) = (free_port(), Gate::new());
    let _daemon = Builder::native(&service(port, &two_parts(&gate), "stdio = 'pipe'")).start();
    let took = takes(port, &gate);
    assert!(took < DELAYED, "{took:?}");
}

#[test]
fn of_a_classic_line_with_pipes_it_is_not_delayed_either() {
    let (port, gate) = (free_port(), Gate::new());
    let line = format!("{port} none {}", testkit::probe(&format!("streams two-parts {}", gate.address())));
    let _daemon = Builder::new(&[line]).arguments(&["--stdio", "pipe"]).start();
    let took = takes(port, &gate);
    assert!(took < DELAYED, "{took:?}");
}

#[test]
fn a_program_that_was_started_ahead_has_no_delay() {
    let (port, gate) = (free_port(), Gate::new());
    let daemon = Builder::native(&service(port, &two_parts(&gate), "warm = 1")).start();
    daemon.warm("a", 1);
    let took = takes(port, &gate);
    assert!(took < DELAYED, "{took:?}");
}

#[cfg(feature = "tls")]
#[test]
fn with_tls_a_second_small_write_is_not_delayed() {
    use testkit::tls::{Authority, Client, Version};
    let (port, gate, authority) = (free_port(), Gate::new(), Authority::new());
    let keys = "tls = { certificate = 'cert.pem', key = 'key.pem' }";
    let builder = Builder::native(&service(port, &two_parts(&gate), keys));
    authority.write(builder.folder()).server("localhost").write(builder.folder());
    let _daemon = builder.start();
    let mut client = Client::new(&authority, Version::V13).connect(port).unwrap();
    let took = second_write_takes(
        &mut client,
        &gate,
        |client| _ = client.send(b"\n"),
        |client| client.read_exact(1)[0],
    );
    assert!(took < DELAYED, "{took:?}");
}

#[test]
fn with_the_socket_the_key_takes_the_delay_away() {
    let (port, gate) = (free_port(), Gate::new());
    let keys = "stdio = 'socket'\nnodelay = true";
    let _daemon = Builder::native(&service(port, &two_parts(&gate), keys)).start();
    let took = takes(port, &gate);
    assert!(took < DELAYED, "{took:?}");
}

#[test]
fn with_nodelay_false_small_writes_wait_for_an_acknowledgement() {
    let (port, gate) = (free_port(), Gate::new());
    let keys = "stdio = 'pipe'\nnodelay = false";
    let _daemon = Builder::native(&service(port, &two_parts(&gate), keys)).start();
    let took = takes(port, &gate);
    assert!(took >= DELAYED, "{took:?}");
}

#[cfg(unix)]
mod unix {
    use super::*;

    fn found(keys: &str) -> String {
        let port = free_port();
        let keys = format!("stdio = 'socket'\n{keys}");
        let daemon = Builder::native(&service(port, "'nodelay'", &keys)).start();
        let found = Client::connect(port).read_text();
        assert!(!found.is_empty(), "{}", daemon.text());
        found
    }

    #[test]
    fn a_socket_has_the_option_only_where_nodelay_says_so() {
        assert_eq!(found(""), "false");
        assert_eq!(found("nodelay = false"), "false");
        assert_eq!(found("nodelay = true"), "true");
        assert_eq!(found("[defaults]\nnodelay = true"), "true");
    }

    #[test]
    fn a_socket_behind_a_proxy_header_has_it_as_well() {
        let port = free_port();
        let keys = "stdio = 'socket'\nnodelay = true\nproxy_protocol = ['127.0.0.1']";
        let _daemon = Builder::native(&service(port, "'nodelay'", keys)).start();
        let mut client = Client::connect(port);
        client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
        assert_eq!(client.read_text(), "true");
    }

    #[test]
    fn a_reload_changes_it_for_the_next_client() {
        let port = free_port();
        let text = |keys: &str| service(port, "'nodelay'", &format!("stdio = 'socket'\n{keys}"));
        let daemon = Builder::native(&text("")).start();
        assert_eq!(Client::connect(port).read_text(), "false");
        daemon.rewrite(&text("nodelay = true"));
        daemon.reload();
        assert_eq!(Client::connect(port).read_text(), "true");
    }

    /// Unix sockets have no Nagle's algorithm. The key is no error there.
    #[test]
    fn at_an_address_in_the_file_system_it_has_no_effect() {
        use std::io::Read;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        for stdio in ["pipe", "socket"] {
            let text = format!(
                "[service.a]\nlisten = 'unix:{}'\ncommand = ['@', 'say', 'said']\nstdio = '{stdio}'\nnodelay = true\n",
                path.display()
            );
            let daemon = Builder::native(&text).start();
            let mut said = String::new();
            let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
            client.read_to_string(&mut said).unwrap();
            assert_eq!(said, "said");
            drop(daemon);
        }
    }
}
