//! With `stdio = "pipe"` the server moves the bytes: each direction independently, all bytes, in
//! order, up to the end of file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::time::{Duration, Instant};

use testkit::{Builder, Client, Daemon, Gate, Value, free_port, is_wine, pattern};

/// Far more than all buffers between the client and the program.
const MOST: usize = 12 << 20;

/// More than the server and the pipes can buffer. Only a client's own buffers may hold it.
const MUCH: usize = 3 << 20;

/// `#` in the program's arguments stands for the gate's address.
fn serve(what: &str, keys: &str) -> (u16, Gate, Daemon) {
    let (port, gate, builder) = service(what, keys);
    (port, gate, builder.start())
}

fn service(what: &str, keys: &str) -> (u16, Gate, Builder) {
    let (port, gate) = (free_port(), Gate::new());
    let words: Vec<String> =
        what.replace('#', &gate.address()).split(' ').map(|word| format!("'{word}'")).collect();
    let builder = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {}]\nstdio = 'pipe'\n{keys}",
        words.join(", ")
    ));
    (port, gate, builder)
}

fn record_of(daemon: &Daemon, client: Client) -> Value {
    let port = client.port();
    drop(client);
    daemon.record(port)
}

#[test]
fn program_keeps_writing_after_its_input_ends() {
    let (port, gate, daemon) = serve(&format!("streams write-on {MUCH} #"), "");
    let mut client = Client::connect(port);
    client.send(&pattern(1000)).half_close();
    assert_eq!(client.read_exact(11), b"1000 equal\n");
    drop(gate.visitor());
    assert!(client.read_all() == pattern(MUCH));
    let record = record_of(&daemon, client);
    assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &0.into()), "{record}");
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&1000.into(), &(MUCH + 11).into()), "{record}");
}

/// Under Wine, a program without a window gets a console server that keeps all its streams open.
#[test]
fn client_keeps_sending_after_the_programs_output_ends() {
    let (port, _gate, daemon) = serve("streams close-output", "");
    let mut client = Client::connect(port);
    if !is_wine() {
        assert_eq!(client.read_all(), b"");
    }
    client.send(&pattern(MUCH)).half_close();
    let said = daemon.event("stderr", |_| true);
    assert_eq!(said["line"], format!("{MUCH} equal"));
    let record = record_of(&daemon, client);
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&MUCH.into(), &0.into()), "{record}");
}

#[test]
fn a_program_that_closes_its_streams_and_works_on_ends_them() {
    let (port, gate, daemon) = serve("closes-streams gate #", "");
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    if !is_wine() {
        assert_eq!(client.read_all(), b"");
    }
    drop(visitor);
    assert_eq!(record_of(&daemon, client)["exit"], 0);
}

#[test]
fn output_arrives_from_a_program_that_read_nothing() {
    let (port, _gate, daemon) = serve(&format!("flood {MUCH}"), "");
    let mut client = Client::connect(port);
    client.send(&[1; 100_000]);
    // The server has read the last bytes when the program has exited.
    let received = client.read_all();
    assert_eq!(received.len(), MUCH);
    assert!(received.iter().zip((0..=255).cycle()).all(|(&byte, expected)| byte == expected));
    let record = record_of(&daemon, client);
    assert_eq!((&record["exit"], &record["bytes_out"]), (&0.into(), &MUCH.into()), "{record}");
}

#[test]
fn the_few_bytes_of_a_program_that_ends_at_once_arrive() {
    let (port, _gate, daemon) = serve("say bye", "");
    for _ in 0..20 {
        let mut client = Client::connect(port);
        client.send(b"unread");
        assert_eq!(client.read_text(), "bye");
        assert_eq!(record_of(&daemon, client)["bytes_out"], 3);
    }
}

#[test]
fn input_before_eof_reaches_a_slow_program() {
    let (port, gate, _daemon) = serve("streams late #", "");
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    let bytes = pattern(MOST);
    let sent = client.send_until_blocked(&bytes);
    assert!(sent < MOST, "a program that does not read stops its client");
    drop(visitor);
    let answer = client.exchange(&bytes[sent..]);
    assert_eq!(String::from_utf8_lossy(&answer), format!("{MOST} equal\n"));
}

#[test]
fn both_directions_are_full_at_once_and_nothing_stops() {
    let (port, _gate, daemon) = serve(&format!("streams duplex {MUCH}"), "");
    for _ in 0..2 {
        let mut client = Client::connect(port);
        let sent = MUCH + 12_345;
        let received = client.exchange(&pattern(sent));
        let answer = format!("{sent} equal\n");
        assert!(received == [&*pattern(MUCH), answer.as_bytes()].concat());
        let record = record_of(&daemon, client);
        let wrote = MUCH + answer.len();
        assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&sent.into(), &wrote.into()), "{record}");
    }
}

#[test]
fn a_word_back_and_forth_is_never_kept() {
    let (port, _gate, _daemon) = serve("echo", "");
    let mut client = Client::connect(port);
    for round in 0..200u8 {
        assert_eq!(client.send(&[round]).read_exact(1), [round]);
    }
    assert_eq!(client.half_close().read_all(), b"");
}

#[test]
fn program_with_closed_input_answers_a_sending_client() {
    let (port, gate, daemon) = serve("streams close-input said #", "");
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    client.send_until_blocked(&pattern(MOST));
    drop(visitor);
    assert_eq!(client.read_text(), "said");
    let record = record_of(&daemon, client);
    assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &0.into()), "{record}");
}

#[test]
fn program_gets_a_broken_pipe_after_a_client_reset() {
    let (port, gate, daemon) = serve("streams until-broken #", "");
    let mut client = Client::connect(port);
    client.read_exact(1_000_000);
    let client_port = client.port();
    client.vanish();
    drop(gate.visitor());
    let record = daemon.record(client_port);
    assert_eq!((&record["outcome"], &record["exit"]), (&"served".into(), &0.into()), "{record}");
}

#[test]
fn bytes_are_counted_in_both_directions_while_they_move() {
    let (port, gate, daemon) = serve("streams write-on 500 #", "");
    let mut client = Client::connect(port);
    client.send(&pattern(2000)).half_close().read_exact(11);
    let visitor = gate.visitor();
    // A client may receive its bytes just before the server counts them.
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let status = daemon.service("a");
        let session = &status["sessions"][0];
        if (&session["bytes_in"], &session["bytes_out"]) == (&2000.into(), &11.into()) {
            break;
        }
        assert!(Instant::now() < until, "{status}");
        daemon.wait_a_moment();
    }
    drop(visitor);
    assert_eq!(client.read_all().len(), 500);
    let record = record_of(&daemon, client);
    assert_eq!((&record["bytes_in"], &record["bytes_out"]), (&2000.into(), &511.into()), "{record}");
}

#[test]
fn a_banner_comes_before_a_programs_first_word() {
    let (port, _gate, _daemon) = serve("say said", "banner = 'welcome '\n");
    for _ in 0..10 {
        assert_eq!(Client::connect(port).read_text(), "welcome said");
    }
}

/// A client that closes while its program writes can make the program end abnormally. The service
/// is not at fault.
#[test]
fn a_client_that_goes_away_does_not_pause_its_service() {
    let (port, _gate, daemon) = serve("streams until-killed", "");
    for _ in 0..5 {
        let mut client = Client::connect(port);
        client.read_exact(1000);
        let client_port = client.port();
        client.vanish();
        let record = daemon.record(client_port);
        assert_eq!(record["outcome"], "served", "{record}");
    }
    let paused = daemon.events().into_iter().find(|event| event["event"] == "service_paused");
    assert_eq!(paused, None);
}

#[test]
fn piped_program_that_crashes_at_once_pauses_its_service() {
    let (port, _gate, daemon) = serve("crash", "");
    let mut client = Client::connect(port);
    client.read_until_gone();
    let paused = daemon.event("service_paused", |_| true);
    assert_eq!(paused["service"], "a");
}

#[test]
fn crash_on_client_input_does_not_pause_the_service() {
    let (port, _gate, daemon) = serve("crash-on-input", "");
    for _ in 0..3 {
        let mut client = Client::connect(port);
        client.send(b"crash\n").read_until_gone();
        let record = record_of(&daemon, client);
        assert_eq!(record["outcome"], "served", "{record}");
    }
    assert_eq!(Client::connect(port).send(b"well\n").read_text(), "well\n");
}

#[cfg(unix)]
#[test]
fn surviving_process_does_not_delay_the_clients_eof() {
    let bytes = 3 << 20;
    let (port, gate, builder) = service(&format!("streams adrift {bytes} #"), "");
    let daemon = builder.without_cgroups().start();
    let mut client = Client::connect(port);
    client.send(b"unread");
    let visitor = gate.visitor();
    assert!(client.read_all() == pattern(bytes));
    let record = record_of(&daemon, client);
    assert_eq!((&record["exit"], &record["reason"]), (&0.into(), &Value::Null), "{record}");
    drop(visitor);
}
