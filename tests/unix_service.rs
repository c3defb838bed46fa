//! A Unix daemon: below systemd, as process 1, and what it refuses as root.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;

use testkit::{Builder, Client, Daemon, Gate, LIMIT, free_port, probe, run};

fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

fn service(port: u16, what: &str) -> String {
    format!("{port} none {}", probe(what))
}

/// The daemon gets these sockets as a service manager passes them.
fn with_sockets(builder: Builder, sockets: Vec<OwnedFd>) -> Builder {
    let count = sockets.len();
    let script = format!("LISTEN_PID=$$ LISTEN_FDS={count}; export LISTEN_PID LISTEN_FDS; exec \"$@\"");
    builder.through(&["sh", "-c", &script, "sh"]).command(|command| {
        // SAFETY: dup2 and fcntl are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                // Out of the way first, so that none is overwritten.
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
    let lines = [service(first, "say first"), service(second, "say second")];
    let daemon = with_sockets(Builder::new(&lines), sockets).start();
    // Only there: the manager has chosen the address.
    let ready = daemon.event("ready", |_| true);
    assert_eq!(
        ready["listen"],
        serde_json::json!([format!("127.0.0.1:{first}"), format!("127.0.0.1:{second}")])
    );
    assert_eq!(Client::connect(first).read_text(), "first");
    assert_eq!(Client::connect(second).read_text(), "second");
}

#[test]
fn a_dual_stack_socket_stands_for_both_and_an_ipv4_client_is_written_as_one() {
    let port = free_port();
    let lines = [service(port, "environment")];
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
fn a_socket_that_nobody_wants_is_closed_with_a_warning() {
    let (port, other) = (free_port(), free_port());
    let unwanted = listener("127.0.0.1", other, false);
    let daemon = with_sockets(Builder::new(&[service(port, "say yes")]), vec![unwanted]).start();
    daemon
        .event("configuration", |event| event["message"].to_string().contains(&format!("127.0.0.1:{other}")));
    assert!(TcpListener::bind(("127.0.0.1", other)).is_ok());
    assert_eq!(Client::connect(port).read_text(), "yes");
}

#[test]
fn descriptors_that_are_no_listeners_are_told_and_not_served() {
    let port = free_port();
    let (file, _other) = UnixDatagram::pair().unwrap();
    let daemon = with_sockets(Builder::new(&[service(port, "say yes")]), vec![file.into()]).start();
    daemon.event("configuration", |event| event["message"].to_string().contains("descriptor 3"));
    assert_eq!(Client::connect(port).read_text(), "yes");
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let (port, other) = (free_port(), free_port());
    let passed = listener("127.0.0.1", other, false);
    let builder = with_sockets(Builder::new(&[service(port, "say yes")]), vec![passed]);
    let daemon = builder.through(&["sh", "-c", "LISTEN_PID=1; exec \"$@\"", "sh"]).start();
    assert!(!daemon.text().contains(&other.to_string()), "{}", daemon.text());
}

/// What the daemon says to a service manager, and the manager's address.
fn manager(folder: &Path) -> (UnixDatagram, String) {
    let path = folder.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    (socket, path.display().to_string())
}

fn hear(socket: &UnixDatagram) -> String {
    let mut words = [0; 512];
    let length = socket.recv(&mut words).expect("a word");
    String::from_utf8_lossy(&words[..length]).into_owned()
}

#[test]
fn the_manager_hears_when_clients_are_served_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (port, gate) = (free_port(), Gate::new());
    let (socket, address) = manager(folder.path());
    let lines = [service(port, &format!("gate {}", gate.address()))];
    let daemon = Builder::new(&lines).without_verb().variable("NOTIFY_SOCKET", &address).start();
    assert!(hear(&socket).starts_with("READY=1\n"));
    let client = Client::connect(port);
    let visitor = gate.visitor();
    daemon.request_stop();
    let stopping = hear(&socket);
    assert!(stopping.starts_with("STOPPING=1\n") && stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    drop((visitor, client));
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_manager_with_an_abstract_address_hears_too() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("wininetd-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let lines = [service(free_port(), "say yes")];
    let _daemon = Builder::new(&lines).without_verb().variable("NOTIFY_SOCKET", &format!("@{name}")).start();
    assert!(hear(&socket).starts_with("READY=1\n"));
}

#[test]
fn a_broken_file_never_counts_as_ready() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, address) = manager(folder.path());
    let broken = Builder::new(&["99999 none x".to_owned()]).without_verb();
    let finished = broken.variable("NOTIFY_SOCKET", &address).launch().finish();
    assert_eq!(finished.code, Some(78));
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 16]).is_err());
}

#[test]
#[cfg(target_os = "linux")]
fn lines_have_priorities_when_the_journal_reads_them() {
    let port = free_port();
    let script = "JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2); export JOURNAL_STREAM; exec \"$@\"";
    let lines = [service(port, "say yes"), format!("{} none no-such-program", free_port())];
    let builder = Builder::new(&lines).without_verb().arguments(&["--log-format", "text"]);
    let daemon = builder.through(&["sh", "-c", script, "sh"]).launch();
    // No time and no level of our own: the journal has both.
    assert!(daemon.text_line("ready services").starts_with("<6>ready services=2 "));
    assert!(daemon.text_line("no-such-program").starts_with("<4>configuration "));
    let broken = Builder::new(&["0 none x".to_owned()]).without_verb();
    let broken = broken.through(&["sh", "-c", script, "sh"]).launch().finish();
    assert!(broken.errors.contains("is not a port"), "{}", broken.errors);
    assert!(broken.errors.lines().all(|line| line.starts_with("<3>")), "{}", broken.errors);
    // Elsewhere a redirected standard error is as it always was.
    let daemon = Builder::new(&lines[..1]).without_verb().arguments(&["--log-format", "text"]);
    daemon.variable("JOURNAL_STREAM", "1:1").launch().text_line(" info ready ");
}

#[test]
fn as_root_a_file_that_others_can_write_is_refused_and_in_a_console_warned_of() {
    let port = free_port();
    let builder = Builder::new(&[service(port, "say yes")]);
    let set = |builder: &Builder, mode| {
        let file = builder.folder().join("wininetd.conf");
        std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
    };
    set(&builder, 0o646);
    let daemon = builder.launch();
    daemon.event("configuration", |event| {
        event["message"].to_string().contains("everybody can change this file")
            && event["hint"].to_string().contains("chmod")
    });
    drop(daemon);
    if is_root() {
        let builder = Builder::new(&[service(port, "say yes")]).without_verb();
        set(&builder, 0o646);
        let finished = builder.launch().finish();
        assert_eq!(finished.code, Some(78));
        assert!(finished.errors.contains("everybody can change this file"), "{}", finished.errors);
        assert!(finished.errors.contains("chmod go-w"), "{}", finished.errors);
    }
}

#[test]
fn as_root_a_file_in_a_folder_that_others_can_write_is_refused() {
    if !is_root() {
        return;
    }
    let builder = Builder::new(&[service(free_port(), "say yes")]).without_verb();
    std::fs::set_permissions(builder.folder(), PermissionsExt::from_mode(0o777)).unwrap();
    let finished = builder.launch().finish();
    assert_eq!(finished.code, Some(78));
    assert!(finished.errors.contains("what lies in the folder"), "{}", finished.errors);
}

/// As process 1 of a namespace of its own, if this user may make one.
#[cfg(target_os = "linux")]
fn as_first_process(builder: Builder) -> Option<Builder> {
    let starter = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let may = std::process::Command::new(starter[0]).args(&starter[1..]).arg("true").status();
    let may = may.is_ok_and(|status| status.success());
    assert!(may || !is_root(), "root is to test process 1, and `unshare --pid` is refused");
    may.then(|| builder.through(&starter))
}

#[test]
#[cfg(target_os = "linux")]
fn as_process_1_it_serves_passes_signals_on_and_ends_as_the_server_does() {
    let (port, gate) = (free_port(), Gate::new());
    let line = service(port, &format!("gate {}", gate.address()));
    let Some(builder) = as_first_process(Builder::new(&[line]).without_verb()) else { return };
    let daemon = builder.start();
    // Not the first process itself: that one only reaps.
    assert_ne!(daemon.event("starting", |_| true)["pid"], 1);
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    // `unshare` does not pass signals on, so the first process is asked itself.
    signal(first_process_below(daemon.pid()), libc::SIGTERM);
    daemon.event("stopping", |event| event["reason"] == "SIGTERM" && event["sessions"] == 1);
    drop(visitor);
    assert_eq!(client.read_all(), b"");
    drop(client);
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn as_process_1_it_ends_with_the_servers_code() {
    let Some(builder) = as_first_process(Builder::new(&["99999 none x".to_owned()]).without_verb()) else {
        return;
    };
    assert_eq!(builder.launch().finish().code, Some(78));
}

#[test]
#[cfg(target_os = "linux")]
fn as_process_1_nothing_outlives_the_server() {
    let (port, gate) = (free_port(), Gate::new());
    let line = service(port, &format!("adrift {}", gate.address()));
    let Some(builder) = as_first_process(Builder::new(&[line]).without_verb()) else { return };
    let daemon = builder.start();
    let first = first_process_below(daemon.pid());
    let server = only_child_of(first);
    // A process that left its session outlives its program, and then the server.
    assert_eq!(Client::connect(port).read_all(), b"");
    let visitor = gate.visitor();
    signal(server, libc::SIGKILL);
    // The server's end is the container's: nothing of it is left.
    visitor.wait_gone();
    assert_eq!(daemon.finish().code, Some(128 + libc::SIGKILL));
}

#[cfg(target_os = "linux")]
fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: no pointers; the process is one that this test has started.
    unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), signal) };
}

#[cfg(target_os = "linux")]
fn only_child_of(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().expect("a child").parse().unwrap()
}

/// `unshare` waits for the first process.
#[cfg(target_os = "linux")]
fn first_process_below(unshare: u32) -> u32 {
    only_child_of(unshare)
}

fn installed(folder: &Path, more: &[&str]) -> testkit::Finished {
    let root = folder.display().to_string();
    let finished = run(&[&["--install", "--root", &root], more].concat());
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    finished
}

#[test]
#[cfg(target_os = "linux")]
fn install_writes_a_unit_and_again_with_one_option_changes_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let unit = || std::fs::read_to_string(folder.path().join("etc/systemd/system/wininetd.service")).unwrap();
    installed(folder.path(), &["--timeout", "5", "--account", "nobody"]);
    let before = unit();
    assert!(before.contains(" --cfgfile /etc/wininetd.conf --timeout 5\n"), "{before}");
    assert!(before.contains(" --reload\nUser=nobody\n"), "{before}");
    assert!(folder.path().join("etc/wininetd.conf").exists());
    let said = installed(folder.path(), &["--linger-timeout", "3"]).output;
    assert_eq!(unit(), before.replace("--timeout 5\n", "--timeout 5 --linger-timeout 3\n"));
    assert!(said.contains("was: ") && said.contains("is:  "), "{said}");
    assert!(installed(folder.path(), &[]).output.contains("unchanged: "));
}

#[test]
#[cfg(target_os = "linux")]
fn a_unit_reloads_the_server_at_the_channel_that_it_starts_it_with() {
    let folder = tempfile::tempdir().unwrap();
    let unit = || std::fs::read_to_string(folder.path().join("etc/systemd/system/wininetd.service")).unwrap();
    let line = |name: &str| unit().lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    for (path, word) in [("/run/x/c.sock", "/run/x/c.sock"), ("/run/a b/50%", "\"/run/a b/50%%\"")] {
        installed(folder.path(), &["--control", path]);
        assert!(line("ExecStart=").ends_with(&format!(" --control {word}")), "{}", unit());
        assert!(line("ExecReload=").ends_with(&format!(" --reload --control {word}")), "{}", unit());
    }
    // Taken back by its default.
    installed(folder.path(), &["--control", ""]);
    assert!(line("ExecReload=").ends_with(" --reload"), "{}", unit());
}

#[test]
#[cfg(target_os = "linux")]
fn remove_leaves_the_configuration_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    installed(folder.path(), &[]);
    let config = folder.path().join("etc/wininetd.conf");
    std::fs::write(&config, "# mine\n").unwrap();
    installed(folder.path(), &[]);
    let root = folder.path().display().to_string();
    assert_eq!(run(&["--remove", "--root", &root]).code, Some(0));
    assert_eq!(std::fs::read_to_string(config).unwrap(), "# mine\n");
    assert_eq!(std::fs::read_dir(folder.path().join("etc/systemd/system")).unwrap().count(), 0);
    let again = run(&["--remove", "--root", &root]);
    assert_eq!((again.code, &*again.output), (Some(0), "not installed\n"));
}

#[test]
#[cfg(target_os = "linux")]
fn install_leaves_a_strangers_unit_alone() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("etc/systemd/system/wininetd.service");
    std::fs::create_dir_all(unit.parent().unwrap()).unwrap();
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true --flag\n").unwrap();
    let finished = run(&["--install", "--root", &folder.path().display().to_string()]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    assert!(std::fs::read_to_string(&unit).unwrap().contains("/bin/true"));
}

#[test]
fn killed_at_any_moment_it_starts_again_at_once() {
    let (port, gate) = (free_port(), Gate::new());
    let lines = [service(port, &format!("gate {}", gate.address()))];
    for moment in ["starting", "ready"] {
        let daemon = Builder::new(&lines).launch();
        daemon.event(moment, |_| true);
        daemon.kill();
    }
    let daemon = Builder::new(&lines).start();
    let _client = Client::connect(port);
    let _visitor = gate.visitor();
    daemon.kill();
    // The program of before still has its client's connection.
    let daemon = Builder::new(&lines).start();
    let _another = Client::connect(port);
    assert!(gate.visitor().pid > 0);
    assert!(!daemon.text().contains("listen_failed"), "{}", daemon.text());
}

#[test]
fn sighup_reads_the_file_again_and_systemd_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(LIMIT)).unwrap();
    let word = || {
        let mut buffer = [0; 4096];
        let length = notify.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let (one, two) = (free_port(), free_port());
    let daemon = Builder::new(&[service(one, "say 1")])
        .without_verb()
        .variable("NOTIFY_SOCKET", folder.path().join("notify").to_str().unwrap())
        .start();
    assert!(word().starts_with("READY=1"));
    std::fs::write(daemon.file("wininetd.conf"), service(two, "say 2") + "\n").unwrap();
    let pid = libc::pid_t::try_from(daemon.pid()).unwrap();
    // SAFETY: no pointers; the daemon is our child.
    unsafe { libc::kill(pid, libc::SIGHUP) };
    assert_eq!(daemon.event("reloading", |_| true)["reason"], "SIGHUP");
    assert!(word().starts_with("RELOADING=1"));
    assert!(word().starts_with("READY=1"));
    daemon.event("reloaded", |_| true);
    assert_eq!(Client::connect(two).read_text(), "2");
    std::fs::write(daemon.file("wininetd.conf"), "99999 none x\n").unwrap();
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGHUP) };
    let failed = daemon.event("reload_failed", |_| true);
    assert!(failed["message"].as_str().unwrap().contains("wininetd.conf:1:1"), "{failed}");
    assert_eq!(Client::connect(two).read_text(), "2");
}

#[test]
fn a_reload_opens_a_bare_port_nowhere_but_where_the_manager_did() {
    let (port, other) = (free_port(), free_port());
    let builder = Builder::new(&[service(port, "say before")]);
    let daemon = with_sockets(builder, vec![listener("127.0.0.1", port, false)]).start();
    assert_eq!(Client::connect(port).read_text(), "before");
    let lines = [service(port, "say after"), service(other, "say other")].join("\n");
    std::fs::write(daemon.file("wininetd.conf"), lines + "\n").unwrap();
    daemon.reload();
    assert_eq!(Client::connect(port).read_text(), "after");
    assert_eq!(Client::connect(other).read_text(), "other");
    // All other addresses of that port are still closed.
    assert!(std::net::TcpStream::connect(("127.0.0.2", port)).is_err());
    assert!(std::net::TcpStream::connect(("::1", port)).is_err());
    let listen = daemon.service(&port.to_string())["listen"].clone();
    assert_eq!(listen, serde_json::json!([format!("127.0.0.1:{port}")]));
}

/// What its clients can reach of a port that only a socket for 127.0.0.1 was given for.
fn is_open_at_127_0_0_1_only(daemon: &Daemon, port: u16) {
    assert_eq!(Client::connect(port).read_text(), "yes");
    assert!(std::net::TcpStream::connect(("127.0.0.2", port)).is_err());
    assert!(std::net::TcpStream::connect(("::1", port)).is_err());
    let listen = daemon.service(&port.to_string())["listen"].clone();
    assert_eq!(listen, serde_json::json!([format!("127.0.0.1:{port}")]));
}

#[test]
fn a_bare_port_that_was_taken_out_and_put_back_is_open_where_the_manager_had_opened_it() {
    let (port, other) = (free_port(), free_port());
    let both = [service(port, "say yes"), service(other, "say other")];
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
        // The one that was bound for it stays as the manager's did.
        serve(&both);
        is_open_at_127_0_0_1_only(&daemon, port);
    }
}

#[test]
fn a_bare_port_that_comes_later_is_open_where_the_manager_had_opened_it() {
    let (port, other) = (free_port(), free_port());
    let passed = vec![listener("127.0.0.1", port, false)];
    let daemon = with_sockets(Builder::new(&[service(other, "say other")]), passed).start();
    daemon.event("configuration", |event| event["message"].to_string().contains(&port.to_string()));
    std::fs::write(daemon.file("wininetd.conf"), service(port, "say yes") + "\n").unwrap();
    daemon.reload();
    is_open_at_127_0_0_1_only(&daemon, port);
}

#[test]
fn a_port_of_a_dual_stack_socket_that_was_taken_out_and_put_back_is_open_for_both_families() {
    let (port, other) = (free_port(), free_port());
    let both = [service(port, "say yes"), service(other, "say other")];
    let daemon = with_sockets(Builder::new(&both), vec![listener("[::]", port, false)]).start();
    for lines in [&both[1..], &both[..]] {
        std::fs::write(daemon.file("wininetd.conf"), lines.join("\n") + "\n").unwrap();
        daemon.reload();
    }
    assert_eq!(Client::connect(port).read_text(), "yes");
    assert!(std::net::TcpStream::connect(("::1", port)).is_ok());
}
