//! Sessions with pipes leave nothing behind, however they end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking
#![allow(clippy::print_stdout)] // prints its measurements

use testkit::{Builder, Client, Daemon, Gate, Held, free_port};

/// Rounds with every kind of end. Starting a process takes thirty times as long under Wine.
const ROUNDS: usize = if cfg!(windows) { 12 } else { 120 };

const KINDS: usize = 8;

struct Services {
    daemon: Daemon,
    gate: Gate,
    ports: Vec<u16>,
}

impl Services {
    fn start() -> Services {
        let gate = Gate::new();
        let address = gate.address();
        let services = [
            ("echo", "'echo'".to_owned(), ""),
            ("bye", "'say', 'bye'".to_owned(), ""),
            ("broken", format!("'streams', 'until-broken', '{address}'"), ""),
            ("closed", format!("'streams', 'close-input', 'x', '{address}'"), ""),
            ("killed", format!("'streams', 'deaf', '{address}'"), "kill_grace = '0s'\n"),
            ("timed", "'streams', 'sink'".to_owned(), "session_timeout = '10ms'\n"),
            ("errors", "'streams', 'complain-and-say', 'x', 'y'".to_owned(), ""),
            ("cut", "'say', 'bye'".to_owned(), "linger_timeout = '10ms'\n"),
        ];
        let ports: Vec<u16> = services.iter().map(|_| free_port()).collect();
        let tables = services.iter().zip(&ports).map(|((name, command, keys), port)| {
            format!(
                "[service.{name}]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {command}]\nstdio = 'pipe'\n{keys}"
            )
        });
        let daemon = Builder::native(&tables.collect::<String>()).start();
        Services { daemon, gate, ports }
    }

    fn round(&self) {
        let [echo, bye, broken, closed, killed, timed, errors, cut] = self.ports[..] else { panic!() };
        assert_eq!(Client::connect(echo).send(b"word").half_close().read_text(), "word");
        assert_eq!(Client::connect(bye).send(b"unread").read_text(), "bye");
        let mut client = Client::connect(broken);
        client.read_exact(100_000);
        client.vanish();
        drop(self.gate.visitor());
        let mut client = Client::connect(closed);
        let visitor = self.gate.visitor();
        client.send_until_blocked(&[0; 200_000]);
        drop(visitor);
        assert_eq!(client.read_text(), "x");
        let mut client = Client::connect(killed);
        let visitor = self.gate.visitor();
        let answer = self.daemon.ask(&["--kill", &visitor.session]);
        assert_eq!(answer.code, Some(0), "{}", answer.errors);
        client.read_until_gone();
        Client::connect(timed).read_until_gone();
        assert_eq!(Client::connect(errors).read_text(), "y");
        let mut client = Client::connect(cut);
        assert_eq!(client.read_text(), "bye");
        self.daemon.record(client.port());
    }
}

#[test]
#[ignore = "takes a minute"]
fn a_thousand_sessions_with_pipes_leave_nothing_behind() {
    let services = Services::start();
    let rounds = |count| (0..count).for_each(|_| services.round());
    let warm = ROUNDS / 4;
    rounds(warm);
    services.daemon.records(warm * KINDS);
    let before = Held::by(services.daemon.pid());
    rounds(ROUNDS);
    services.daemon.records((warm + ROUNDS) * KINDS);
    let after = Held::by(services.daemon.pid());
    println!("before: {before:?}\nafter {} sessions: {after:?}", ROUNDS * KINDS);
    assert_eq!(after.children, 0);
    assert!(after.handles <= before.handles + 3, "handles");
    assert!(after.kibibytes <= before.kibibytes + 1024, "memory");
}

#[test]
fn no_kind_of_session_end_leaks_a_handle() {
    let services = Services::start();
    services.round();
    services.daemon.records(KINDS);
    let before = Held::by(services.daemon.pid());
    for _ in 0..3 {
        services.round();
    }
    services.daemon.records(4 * KINDS);
    let after = Held::by(services.daemon.pid());
    assert_eq!(after.children, 0);
    assert!(after.handles <= before.handles + 3, "{before:?} {after:?}");
}
