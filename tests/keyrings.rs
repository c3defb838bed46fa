//! Each program has its own session keyring. It holds no key of the server or of a program of
//! another account.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::os::unix::process::CommandExt;
use std::process::Command;

use testkit::{Builder, Client, free_port};

const OF_SERVER: &str = "wininetd-test-server";

fn with_key(command: &mut Command) {
    // SAFETY: the closure makes only system calls. The strings end in NUL, and the length is that
    // of the payload.
    unsafe {
        command.pre_exec(|| {
            let unnamed: *const libc::c_char = std::ptr::null();
            let name = c"wininetd-test-server".as_ptr();
            let (payload, session) = (c"secret".as_ptr(), -3);
            if libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, unnamed) < 0
                || libc::syscall(libc::SYS_add_key, c"user".as_ptr(), name, payload, 6usize, session) < 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Whether the test may switch accounts and keyrings work. A container may deny keyrings.
fn can_be_tried() -> bool {
    // SAFETY: no preconditions.
    let is_root = unsafe { libc::geteuid() } == 0;
    let mut command = Command::new("/bin/true");
    with_key(&mut command);
    is_root && command.status().is_ok_and(|status| status.success())
}

fn shared_probe() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    testkit::copy_program(&testkit::probe_path(), &folder.path().join("probe"));
    for path in [folder.path().to_owned(), folder.path().join("probe")] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    folder
}

fn service(probe: &tempfile::TempDir, name: &str, port: u16, words: &str, keys: &str) -> String {
    format!(
        "[service.{name}]\nlisten = '127.0.0.1:{port}'\ncommand = ['{}', {words}]\n{keys}\n",
        probe.path().join("probe").display()
    )
}

#[test]
fn a_program_finds_no_key_of_the_server() {
    if !can_be_tried() {
        return;
    }
    let probe = shared_probe();
    for keys in ["stdio = 'socket'", "stdio = 'pipe'", "warm = 1"] {
        let port = free_port();
        let keys = format!("user = 'nobody'\n{keys}");
        let words = format!("'waits', 'key', 'own', '{OF_SERVER}'");
        let builder = Builder::native(&service(&probe, "a", port, &words, &keys));
        let daemon = builder.command(with_key).start();
        let found = Client::connect(port).send(b"\n").read_text();
        assert_eq!(found, "kept own\nfound nothing\n", "{keys}\n{}", daemon.text());
    }
}

#[test]
fn account_finds_no_key_of_another_account() {
    if !can_be_tried() {
        return;
    }
    let (probe, ports) = (shared_probe(), [free_port(), free_port()]);
    let first = service(&probe, "a", ports[0], "'key', 'one', 'other'", "user = 'nobody'");
    let second = service(&probe, "b", ports[1], "'key', 'other', 'one'", "user = 'daemon'");
    let daemon = Builder::native(&format!("{first}{second}")).command(with_key).start();
    assert_eq!(Client::connect(ports[0]).read_text(), "kept one\nfound nothing\n", "{}", daemon.text());
    assert_eq!(Client::connect(ports[1]).read_text(), "kept other\nfound nothing\n", "{}", daemon.text());
}

/// More concurrent programs than the account's quota of 200 keys.
#[test]
fn program_keyrings_do_not_use_the_accounts_key_quota() {
    if !can_be_tried() {
        return;
    }
    const MANY: usize = 220;
    let (probe, port) = (shared_probe(), free_port());
    let keys = format!("user = 'nobody'\nmax_connections = {MANY}");
    let words = "'early', 'begun', '', 'waits', 'key', 'own', 'other'";
    let daemon = Builder::native(&service(&probe, "a", port, words, &keys)).start();
    let mut clients: Vec<_> = (0..MANY).map(|_| Client::connect(port)).collect();
    for client in &mut clients {
        assert_eq!(client.read_exact(5), b"begun", "{}", daemon.text());
    }
    assert_eq!(clients[0].send(b"\n").read_text(), "kept own\nfound nothing\n");
}

#[test]
fn run_gives_the_program_its_own_keyring() {
    if !can_be_tried() {
        return;
    }
    let (probe, folder) = (shared_probe(), tempfile::tempdir().unwrap());
    let file = folder.path().join("wininetd.toml");
    let words = format!("'key', 'own', '{OF_SERVER}'");
    std::fs::write(&file, service(&probe, "a", free_port(), &words, "user = 'nobody'")).unwrap();
    let mut command = Command::new(testkit::wininetd());
    command.args(["--run", "a", "--cfgfile"]).arg(&file);
    with_key(&mut command);
    let finished = command.output().unwrap();
    let output = String::from_utf8_lossy(&finished.stdout);
    assert_eq!(output, "kept own\nfound nothing\n", "{}", String::from_utf8_lossy(&finished.stderr));
}

/// A container's system call filter that denies keyrings also denies them to programs.
#[test]
fn keyring_failure_is_recorded_with_its_step() {
    if !can_be_tried() {
        return;
    }
    let (probe, port) = (shared_probe(), free_port());
    let text = service(&probe, "a", port, "'key', 'own', 'other'", "user = 'nobody'");
    let daemon = Builder::native(&text).variable("WININETD_TEST_FAULTS", "child:keyring:1").start();
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    let record = daemon.record(client.port());
    assert_eq!((&record["outcome"], &record["step"]), (&"failed".into(), &"keyring".into()));
}
