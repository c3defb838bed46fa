//! A reload applies the whole configuration or nothing. Unchanged listeners keep their sockets, and
//! sessions continue.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use testkit::{Builder, Client, Daemon, Gate, free_port, probe};

fn says(name: &str, address: &str, text: &str) -> String {
    format!("[service.{name}]\nlisten = {address}\ncommand = ['@', 'say', '{text}']\n")
}

#[test]
fn reload_adds_removes_and_changes_services() {
    let (one, two, three) = (free_port(), free_port(), free_port());
    let text = says("one", &one.to_string(), "1") + &says("two", &two.to_string(), "2");
    let daemon = Builder::native(&text).start();
    assert_eq!(Client::connect(one).read_text(), "1");
    daemon.rewrite(&(says("two", &two.to_string(), "changed") + &says("three", &three.to_string(), "3")));
    let answer = daemon.reload().output;
    assert!(answer.contains("added three") && answer.contains("removed one"), "{answer}");
    assert_eq!(Client::connect(two).read_text(), "changed");
    assert_eq!(Client::connect(three).read_text(), "3");
    assert!(TcpStream::connect(("127.0.0.1", one)).is_err());
    let reloaded = daemon.event("reloaded", |_| true);
    assert_eq!((&reloaded["services"], &reloaded["added"]), (&2.into(), &serde_json::json!(["three"])));
}

#[test]
fn a_reload_that_changes_stdio_serves_by_the_new_binding() {
    let port = free_port();
    let text =
        |stdio: &str| format!("[service.a]\nlisten = {port}\ncommand = ['@', 'echo']\nstdio = '{stdio}'\n");
    let daemon = Builder::native(&text("pipe")).start();
    let mut before = Client::connect(port);
    before.send(b"first");
    assert_eq!(before.read_exact(5), b"first");
    for stdio in ["socket", "pipe"] {
        daemon.rewrite(&text(stdio));
        assert_eq!(daemon.reload().code, Some(0));
        assert_eq!(Client::connect(port).exchange(stdio.as_bytes()), stdio.as_bytes(), "{}", daemon.text());
    }
    assert_eq!(before.exchange(b"second"), b"second");
}

#[test]
fn a_classic_file_is_read_again_as_well() {
    let (one, two) = (free_port(), free_port());
    let daemon = Builder::new(&[format!("{one} none {}", probe("say 1"))]).start();
    std::fs::write(daemon.file("wininetd.conf"), format!("{two} none {}\n", probe("say 2"))).unwrap();
    daemon.reload();
    assert_eq!(Client::connect(two).read_text(), "2");
    assert!(TcpStream::connect(("127.0.0.1", one)).is_err());
}

#[test]
fn failed_reload_changes_nothing_and_names_the_position() {
    let (one, two) = (free_port(), free_port());
    let daemon = Builder::native(&says("one", &one.to_string(), "1")).start();
    for broken in [
        says("two", &two.to_string(), "2") + "colour = 'red'\n",
        says("two", &two.to_string(), "2") + "rate = 'often'\n",
        "[service.two\n".to_owned(),
        "\u{1}".to_owned(),
    ] {
        daemon.rewrite(&broken);
        let answer = daemon.ask(&["--reload"]);
        assert_eq!(answer.code, Some(78), "{}", answer.errors);
        assert!(answer.errors.contains("wininetd.toml:"), "{}", answer.errors);
        assert_eq!(Client::connect(one).read_text(), "1");
        assert!(TcpStream::connect(("127.0.0.1", two)).is_err());
    }
    let failed = daemon.event("reload_failed", |_| true);
    assert!(failed["message"].as_str().unwrap().contains("colour"), "{failed}");
    std::fs::remove_file(daemon.file("wininetd.toml")).unwrap();
    assert_eq!(daemon.ask(&["--reload"]).code, Some(66));
    assert_eq!(Client::connect(one).read_text(), "1");
}

#[test]
fn a_reload_of_an_empty_file_keeps_the_configuration() {
    let port = free_port();
    let classic = Builder::new(&[format!("{port} none {}", probe("say yes"))]);
    refuses_an_empty_file(&classic.start(), "wininetd.conf", port);
    let native = Builder::native(&says("one", &port.to_string(), "yes"));
    refuses_an_empty_file(&native.start(), "wininetd.toml", port);
}

fn refuses_an_empty_file(daemon: &Daemon, file: &str, port: u16) {
    std::fs::write(daemon.file(file), "").unwrap();
    let answer = daemon.ask(&["--reload"]);
    assert_eq!(answer.code, Some(78), "{}", answer.errors);
    assert!(answer.errors.contains("this file is empty"), "{}", answer.errors);
    assert_eq!(Client::connect(port).read_text(), "yes");
    std::fs::write(daemon.file(file), "# no services\n").unwrap();
    daemon.reload();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn sessions_survive_the_removal_of_their_service() {
    let (one, two, gate) = (free_port(), free_port(), Gate::new());
    let daemon = Builder::native(&format!(
        "[service.one]\nlisten = {one}\ncommand = ['@', 'gate', '{}']\n",
        gate.address()
    ))
    .start();
    let mut client = Client::connect(one);
    let visitor = gate.visitor();
    daemon.rewrite(&says("two", &two.to_string(), "2"));
    daemon.reload();
    assert_eq!(Client::connect(two).read_text(), "2");
    drop(visitor);
    assert_eq!(client.read_all(), b"");
    let client_port = client.port();
    drop(client);
    let record = daemon.record(client_port);
    assert_eq!(
        (&record["service"], &record["outcome"], &record["exit"]),
        (&"one".into(), &"served".into(), &0.into())
    );
}

#[test]
fn an_address_that_overlaps_one_that_goes_takes_its_place() {
    let port = free_port();
    let narrow = says("one", &format!("'127.0.0.1:{port}'"), "narrow");
    let wide = says("one", &format!("'0.0.0.0:{port}'"), "wide");
    let daemon = Builder::native(&narrow).start();
    for (text, word) in [(&wide, "wide"), (&narrow, "narrow"), (&wide, "wide")] {
        daemon.rewrite(text);
        daemon.reload();
        assert_eq!(Client::connect(port).read_text(), word);
    }
    // This host does not have the second address, so the server binds the old address again.
    let unbindable = says("one", &format!("['127.0.0.1:{port}', '203.0.113.7:{port}']"), "both");
    daemon.rewrite(&unbindable);
    let answer = daemon.reload().output;
    assert!(answer.contains("203.0.113.7"), "{answer}");
    assert_eq!(Client::connect(port).read_text(), "both");
}

#[test]
fn live_session_does_not_block_a_changed_address() {
    let (port, gate) = (free_port(), Gate::new());
    let held =
        format!("[service.one]\nlisten = '0.0.0.0:{port}'\ncommand = ['@', 'gate', '{}']\n", gate.address());
    // Windows refuses an exclusive bind while a connection of the former listener is open. Wine
    // does not, so the test injects that failure.
    let daemon = Builder::native(&held).variable("WININETD_TEST_FAULTS", "bind:exclusive:2+").start();
    let _client = Client::connect(port);
    let _visitor = gate.visitor();
    daemon.rewrite(&says("one", &format!("'127.0.0.1:{port}'"), "narrow"));
    daemon.reload();
    assert_eq!(Client::connect(port).read_text(), "narrow");
    assert_eq!(daemon.service("one")["state"], "listening");
    if cfg!(windows) {
        let said = |event: &testkit::Value| event["message"].to_string().contains("without exclusive use");
        daemon.event("configuration", said);
    }
}

#[test]
fn old_address_is_kept_if_the_new_one_cannot_be_bound() {
    let port = free_port();
    let daemon = Builder::native(&says("one", &format!("'127.0.0.1:{port}'"), "1")).start();
    // Another process listens on the port at another address of this host.
    let thief = TcpListener::bind(("127.0.0.2", port)).unwrap();
    daemon.rewrite(&says("one", &format!("'0.0.0.0:{port}'"), "new"));
    daemon.reload();
    daemon.event("listen_failed", |_| true);
    assert_eq!(daemon.service("one")["state"], "retrying");
    assert_eq!(Client::connect(port).read_text(), "new");
    drop(thief);
    daemon.event("listen_recovered", |_| true);
    assert_eq!(Client::connect_to(([127, 0, 0, 3], port)).read_text(), "new");
    assert_eq!(daemon.service("one")["state"], "listening");
}

#[test]
fn thousand_reloads_refuse_no_client_and_break_no_session() {
    const RELOADS: usize = if cfg!(windows) { 40 } else { 1000 };
    let (port, other, gate) = (free_port(), free_port(), Gate::new());
    let fixed = format!(
        "[service.fixed]\nlisten = {port}\ncommand = ['@', 'line']\n\
         [service.held]\nlisten = {other}\ncommand = ['@', 'gate', '{}']\n",
        gate.address()
    );
    let changing = free_port();
    let daemon = Builder::native(&fixed).start();
    let mut held = Client::connect(other);
    let visitor = gate.visitor();
    let over = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(Client::connect(port).send(b"x\n").read_text(), "x\n");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..RELOADS {
            let text = match round % 3 {
                0 => fixed.clone() + &says("changing", &changing.to_string(), "c"),
                1 => fixed.clone() + "max_connections = 9\n",
                _ => fixed.clone(),
            };
            daemon.rewrite(&text);
            daemon.reload_quickly();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(served.load(Ordering::Relaxed) > RELOADS / 20, "{served:?} clients were served meanwhile");
    drop(visitor);
    assert_eq!(held.read_all(), b"");
    let finished = daemon.stop();
    assert_eq!(finished.events("reloaded").len(), RELOADS);
    assert!(finished.events("session").iter().all(|record| record["outcome"] == "served"));
}

#[test]
fn restored_service_still_counts_its_old_sessions() {
    let (port, other, gate) = (free_port(), free_port(), Gate::new());
    let counted = format!(
        "[service.one]\nlisten = {port}\ncommand = ['@', 'gate', '{}']\nmax_connections = 1\nwhen_full = 'refuse'\n",
        gate.address()
    );
    let daemon = Builder::native(&counted).start();
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    daemon.rewrite(&says("two", &other.to_string(), "2"));
    daemon.reload();
    // The status still lists the session, so an administrator can kill it.
    assert_eq!(daemon.service("one")["sessions"][0]["id"].to_string(), visitor.session);
    daemon.rewrite(&counted);
    daemon.reload();
    let mut second = Client::connect(port);
    assert!(second.is_turned_away());
    assert_eq!(daemon.record(second.port())["reason"], "max_connections");
    drop(visitor);
    assert_eq!(client.read_all(), b"");
}
