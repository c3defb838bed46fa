//! Language runtimes for Windows serve a connection with both kinds of `stdio`, under Wine.
//! `scripts/runtimes.sh` downloads them. `docs/windows-runtimes.md` has a table of the results.
#![cfg(windows)] // on Unix a socket is an ordinary descriptor
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Daemon, free_port};

/// The bytes that a program writes while it reads: `BYTES` in the tools.
const DUPLEX: usize = 1 << 20;

/// A service that runs the runtime from this variable with this action.
fn serve(variable: &str, act: &str, keys: &str) -> (Daemon, u16) {
    let command = std::env::var(variable).expect("the lab names it");
    let port = free_port();
    let text = format!("[service.a]\nlisten = {port}\nuser = 'none'\ncommand = '{command} {act}'\n{keys}\n");
    (Builder::native(&text).start(), port)
}

fn echoes(variable: &str, keys: &str) {
    let (daemon, port) = serve(variable, "echo", keys);
    let mut client = Client::connect(port);
    client.send(b"one");
    assert_eq!(client.read_exact(3), b"one", "{}", daemon.text());
    client.send(b"two").half_close();
    assert_eq!(client.read_text(), "twoend", "{}", daemon.text());
}

fn writes_while_it_reads(variable: &str, keys: &str) {
    let (daemon, port) = serve(variable, "duplex", keys);
    let answer = Client::connect(port).exchange(&[b'x'; 100_000]);
    assert_eq!(answer.len(), DUPLEX + "100000".len(), "{}", daemon.text());
    assert!(answer.ends_with(b"100000"));
}

fn is_there_before_its_client(variable: &str) {
    let (daemon, port) = serve(variable, "echo", "warm = 1");
    daemon.warm("a", 1);
    assert_eq!(Client::connect(port).exchange(b"word"), b"wordend", "{}", daemon.text());
}

macro_rules! takes_a_socket {
    ($variable:literal) => {
        #[test]
        #[ignore = "needs the lab"]
        fn echoes_on_a_socket() {
            super::echoes($variable, "stdio = 'socket'");
        }

        #[test]
        #[ignore = "needs the lab"]
        fn writes_while_it_reads_on_a_socket() {
            super::writes_while_it_reads($variable, "stdio = 'socket'");
        }
    };
}

macro_rules! takes_pipes {
    ($variable:literal) => {
        #[test]
        #[ignore = "needs the lab"]
        fn echoes_on_pipes() {
            super::echoes($variable, "stdio = 'pipe'");
        }

        #[test]
        #[ignore = "needs the lab"]
        fn writes_while_it_reads_on_pipes() {
            super::writes_while_it_reads($variable, "stdio = 'pipe'");
        }

        #[test]
        #[ignore = "needs the lab"]
        fn is_there_before_its_client() {
            super::is_there_before_its_client($variable);
        }
    };
}

mod java {
    takes_a_socket!("WININETD_LAB_JAVA");
    takes_pipes!("WININETD_LAB_JAVA");
}

mod dotnet {
    takes_a_socket!("WININETD_LAB_DOTNET");
    takes_pipes!("WININETD_LAB_DOTNET");
}

mod node {
    use testkit::Client;

    takes_pipes!("WININETD_LAB_NODE");

    /// When this test fails, the runtime accepts sockets and `--check` no longer needs its warning.
    #[test]
    #[ignore = "needs the lab"]
    fn cannot_take_a_socket() {
        let (daemon, port) =
            super::serve("WININETD_LAB_NODE", "echo", "stdio = 'socket'\nstderr = 'discard'");
        let mut client = Client::connect(port);
        client.read_until_gone();
        assert_ne!(daemon.record(client.port())["exit"], 0, "{}", daemon.text());
    }
}
