//! The server as a Unix daemon: under systemd, as process 1, and with files that it refuses as
//! root.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use testkit::{Builder, Client, Gate, LIMIT, free_port, probe_line, run};

fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// The socket on which a service manager receives notifications, and its address.
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
    let lines = [probe_line(port, &format!("gate {}", gate.address()))];
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
    let lines = [probe_line(free_port(), "say yes")];
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
    let lines = [probe_line(port, "say yes"), format!("{} none no-such-program", free_port())];
    let builder = Builder::new(&lines).without_verb().arguments(&["--log-format", "text"]);
    let daemon = builder.through(&["sh", "-c", script, "sh"]).launch();
    // No time and no level: the journal adds both.
    assert!(daemon.text_line("ready services").starts_with("<6>ready services=2 "));
    assert!(daemon.text_line("no-such-program").starts_with("<4>configuration "));
    let broken = Builder::new(&["0 none x".to_owned()]).without_verb();
    let broken = broken.through(&["sh", "-c", script, "sh"]).launch().finish();
    assert!(broken.errors.contains("is not a port"), "{}", broken.errors);
    assert!(broken.errors.lines().all(|line| line.starts_with("<3>")), "{}", broken.errors);
    // Without the journal, a redirected standard error has the usual format.
    let daemon = Builder::new(&lines[..1]).without_verb().arguments(&["--log-format", "text"]);
    daemon.variable("JOURNAL_STREAM", "1:1").launch().text_line(" info ready ");
}

#[test]
fn root_refuses_a_world_writable_file_and_a_console_warns() {
    let port = free_port();
    let builder = Builder::new(&[probe_line(port, "say yes")]);
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
        let builder = Builder::new(&[probe_line(port, "say yes")]).without_verb();
        set(&builder, 0o646);
        let finished = builder.launch().finish();
        assert_eq!(finished.code, Some(78));
        assert!(finished.errors.contains("everybody can change this file"), "{}", finished.errors);
        assert!(finished.errors.contains("chmod go-w"), "{}", finished.errors);
    }
}

#[test]
fn root_refuses_a_file_in_a_world_writable_folder() {
    if !is_root() {
        return;
    }
    let builder = Builder::new(&[probe_line(free_port(), "say yes")]).without_verb();
    std::fs::set_permissions(builder.folder(), PermissionsExt::from_mode(0o777)).unwrap();
    let finished = builder.launch().finish();
    assert_eq!(finished.code, Some(78));
    assert!(finished.errors.contains("the files in the folder"), "{}", finished.errors);
}

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
fn process_1_forwards_signals_and_exits_like_the_server() {
    let (port, gate) = (free_port(), Gate::new());
    let line = probe_line(port, &format!("gate {}", gate.address()));
    let Some(builder) = as_first_process(Builder::new(&[line]).without_verb()) else { return };
    let daemon = builder.start();
    // The server is a child. Process 1 only reaps.
    assert_ne!(daemon.event("starting", |_| true)["pid"], 1);
    let mut client = Client::connect(port);
    let visitor = gate.visitor();
    // `unshare` does not pass signals on, so the test signals process 1 itself.
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
fn no_process_outlives_the_server_of_process_1() {
    let (port, gate) = (free_port(), Gate::new());
    let line = probe_line(port, &format!("adrift {}", gate.address()));
    let Some(builder) = as_first_process(Builder::new(&[line]).without_verb()) else { return };
    let daemon = builder.without_cgroups().start();
    let first = first_process_below(daemon.pid());
    let server = only_child_of(first);
    // A process in its own session outlives its program, but not the server.
    assert_eq!(Client::connect(port).read_all(), b"");
    let visitor = gate.visitor();
    signal(server, libc::SIGKILL);
    // Process 1 exits after the server, and the kernel kills the namespace.
    visitor.wait_gone();
    assert_eq!(daemon.finish().code, Some(128 + libc::SIGKILL));
}

#[cfg(target_os = "linux")]
fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: no pointers. The test has started this process.
    unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), signal) };
}

#[cfg(target_os = "linux")]
fn only_child_of(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().expect("a child").parse().unwrap()
}

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
fn reinstall_changes_only_the_given_option_in_the_unit() {
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
fn unit_reloads_through_the_channel_it_starts_with() {
    let folder = tempfile::tempdir().unwrap();
    let unit = || std::fs::read_to_string(folder.path().join("etc/systemd/system/wininetd.service")).unwrap();
    let line = |name: &str| unit().lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    for (path, word) in [("/run/x/c.sock", "/run/x/c.sock"), ("/run/a b/50%", "\"/run/a b/50%%\"")] {
        installed(folder.path(), &["--control", path]);
        assert!(line("ExecStart=").ends_with(&format!(" --control {word}")), "{}", unit());
        assert!(line("ExecReload=").ends_with(&format!(" --reload --control {word}")), "{}", unit());
    }
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
fn server_killed_at_any_moment_restarts_at_once() {
    let (port, gate) = (free_port(), Gate::new());
    let lines = [probe_line(port, &format!("gate {}", gate.address()))];
    for moment in ["starting", "ready"] {
        let daemon = Builder::new(&lines).launch();
        daemon.event(moment, |_| true);
        daemon.kill();
    }
    let daemon = Builder::new(&lines).start();
    let _client = Client::connect(port);
    let _visitor = gate.visitor();
    daemon.kill();
    // The program of the killed server still holds its client's connection.
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
    let daemon = Builder::new(&[probe_line(one, "say 1")])
        .without_verb()
        .variable("NOTIFY_SOCKET", folder.path().join("notify").to_str().unwrap())
        .start();
    assert!(word().starts_with("READY=1"));
    std::fs::write(daemon.file("wininetd.conf"), probe_line(two, "say 2") + "\n").unwrap();
    let pid = libc::pid_t::try_from(daemon.pid()).unwrap();
    // SAFETY: no pointers. The daemon is a child of the test.
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
