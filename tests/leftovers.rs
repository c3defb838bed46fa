//! The key `leftovers` decides whether processes that a program leaves behind end with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Daemon, Gate, Value, free_port};

const BINDINGS: [&str; 2] = ["socket", "pipe"];

/// A service whose program writes a text, leaves a process that answers at the gate, and exits.
fn serve(gate: &Gate, how: &str, keys: &str) -> (u16, Daemon) {
    let (port, builder) = service(gate, how, keys);
    (port, builder.start())
}

fn service(gate: &Gate, how: &str, keys: &str) -> (u16, Builder) {
    let port = free_port();
    let command = format!("'says', '250 OK', 'leaves', '{how}', 'answers', '{}'", gate.address());
    let text = format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\n{keys}\n");
    (port, Builder::native(&text))
}

fn record(daemon: &Daemon, client: Client) -> Value {
    let port = client.port();
    drop(client);
    daemon.record(port)
}

#[test]
fn with_end_what_a_program_leaves_is_ended() {
    for binding in BINDINGS {
        let gate = Gate::new();
        let (port, daemon) = serve(&gate, "beside", &format!("stdio = '{binding}'\nleftovers = 'end'"));
        let mut client = Client::connect(port);
        assert_eq!(client.read_text(), "250 OK");
        assert_eq!(record(&daemon, client)["exit"], 0);
        // The server may have killed the process before it came to the gate.
        for visitor in gate.visitors_so_far() {
            visitor.wait_gone();
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::time::Instant;

    use testkit::{Held, LIMIT};

    use super::*;

    fn serve_without_cgroups(gate: &Gate, how: &str, keys: &str) -> (u16, Daemon) {
        let (port, builder) = service(gate, how, keys);
        (port, builder.without_cgroups().start())
    }

    fn leave(gate: &Gate, how: &str, binding: &str) -> (u16, Daemon) {
        serve(gate, how, &format!("stdio = '{binding}'\nleftovers = 'leave'"))
    }

    #[test]
    fn leftover_processes_keep_running_with_leave() {
        for binding in BINDINGS {
            let gate = Gate::new();
            let (port, daemon) = leave(&gate, "beside", binding);
            let mut client = Client::connect(port);
            assert_eq!(client.read_text(), "250 OK");
            let record = record(&daemon, client);
            assert_eq!((&record["exit"], &record["reason"]), (&0.into(), &Value::Null), "{record}");
            assert_eq!(gate.visitor().ask(b'?'), Some(b'?'));
        }
    }

    #[test]
    fn it_goes_on_when_the_server_has_stopped() {
        let gate = Gate::new();
        let (port, daemon) = leave(&gate, "beside", "socket");
        let mut client = Client::connect(port);
        assert_eq!(client.read_text(), "250 OK");
        assert_eq!(record(&daemon, client)["exit"], 0);
        assert_eq!(daemon.stop().code, Some(0));
        assert_eq!(gate.visitor().ask(b'?'), Some(b'?'));
    }

    #[test]
    fn leftover_process_with_pipes_gets_a_broken_pipe() {
        let gate = Gate::new();
        let (port, daemon) = leave(&gate, "with-streams", "pipe");
        let mut client = Client::connect(port);
        assert_eq!(client.read_text(), "250 OK");
        assert_eq!(record(&daemon, client)["exit"], 0);
        let mut left = gate.visitor();
        assert_eq!((left.ask(b'w'), left.ask(b'?')), (Some(b'n'), Some(b'?')));
    }

    /// inetd does the same.
    #[cfg(all(target_os = "linux", not(portable_unix)))]
    #[test]
    fn leftover_process_with_the_socket_keeps_its_client() {
        for how in ["with-streams", "adrift-with-streams"] {
            let gate = Gate::new();
            let (port, daemon) = leave(&gate, how, "socket");
            let mut client = Client::connect(port);
            assert_eq!(client.read_exact(6), b"250 OK");
            let record = daemon.record(client.port());
            assert_eq!(
                (&record["exit"], &record["reason"]),
                (&0.into(), &"left to itself".into()),
                "{record}"
            );
            let mut left = gate.visitor();
            assert_eq!(left.ask(b'w'), Some(b'y'));
            assert_eq!(client.read_exact(1), b"w");
            // The client's end of file comes with the end of this process.
            drop(left);
            assert_eq!(client.read_all(), b"");
        }
    }

    #[test]
    fn last_bytes_arrive_though_a_process_was_left() {
        let gate = Gate::new();
        let (port, daemon) = leave(&gate, "beside", "socket");
        let mut client = Client::connect(port);
        client.send(&[b'x'; 1000]);
        // Unread input must not reset the connection.
        assert_eq!(client.read_text(), "250 OK");
        assert_eq!(record(&daemon, client)["exit"], 0);
        assert_eq!(gate.visitor().ask(b'?'), Some(b'?'));
    }

    #[test]
    fn a_session_that_is_killed_leaves_nothing_with_leave_either() {
        for binding in BINDINGS {
            let (port, gate) = (free_port(), Gate::new());
            let daemon = Builder::native(&format!(
                "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'tree', '{}']\n\
                 stdio = '{binding}'\nleftovers = 'leave'\n",
                gate.address()
            ))
            .start();
            let client = Client::connect(port);
            let visitors = [gate.visitor(), gate.visitor()];
            assert_eq!(daemon.ask(&["--kill", &visitors[0].session]).code, Some(0));
            assert_eq!(daemon.record(client.port())["reason"], "killed");
            for visitor in visitors {
                visitor.wait_gone();
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn leftover_process_is_reaped_when_it_ends() {
        let gate = Gate::new();
        let (port, daemon) = leave(&gate, "beside", "socket");
        for _ in 0..3 {
            assert_eq!(Client::connect(port).read_text(), "250 OK");
            assert_eq!(gate.visitor().ask(b'?'), Some(b'?'));
        }
        daemon.records(3);
        let until = Instant::now() + LIMIT;
        while Held::by(daemon.pid()).children > 0 {
            assert!(Instant::now() < until, "{:?}", Held::by(daemon.pid()));
            daemon.wait_a_moment();
        }
    }

    #[test]
    fn process_in_its_own_session_outlives_its_program() {
        for binding in BINDINGS {
            let gate = Gate::new();
            let (port, daemon) = serve_without_cgroups(&gate, "adrift", &format!("stdio = '{binding}'"));
            let mut client = Client::connect(port);
            assert_eq!(client.read_text(), "250 OK");
            assert_eq!(record(&daemon, client)["exit"], 0);
            let mut left = gate.visitor();
            assert_eq!(left.ask(b'?'), Some(b'?'));
            assert_eq!(daemon.stop().code, Some(0));
            assert_eq!(left.ask(b'?'), Some(b'?'));
        }
    }

    #[test]
    fn leftover_process_does_not_delay_the_clients_eof() {
        for binding in BINDINGS {
            let gate = Gate::new();
            let (port, daemon) =
                serve_without_cgroups(&gate, "adrift-with-streams", &format!("stdio = '{binding}'"));
            let mut client = Client::connect(port);
            assert_eq!(client.read_text(), "250 OK");
            let record = record(&daemon, client);
            assert_eq!((&record["exit"], &record["reason"]), (&0.into(), &Value::Null), "{record}");
            assert_eq!(gate.visitor().ask(b'w'), Some(b'n'));
        }
    }

    #[test]
    fn leftover_process_keeps_the_socket_without_linger() {
        let gate = Gate::new();
        let keys = "stdio = 'socket'\nlinger_timeout = '0s'";
        let (port, daemon) = serve_without_cgroups(&gate, "adrift-with-streams", keys);
        let mut client = Client::connect(port);
        assert_eq!(client.read_exact(6), b"250 OK");
        assert_eq!(daemon.record(client.port())["exit"], 0);
        let mut left = gate.visitor();
        assert_eq!(left.ask(b'w'), Some(b'y'));
        drop(left);
        assert_eq!(client.read_text(), "w");
    }
}
