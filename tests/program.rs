//! The keys of the native file that control a program's environment, directory, streams and limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Daemon, free_port};

fn service(program: &str, keys: &str) -> (u16, Daemon) {
    let port = free_port();
    let daemon = Builder::native(&format!("[service.a]\nlisten = {port}\ncommand = [{program}]\n{keys}\n"));
    (port, daemon.variable("WANTED", "1").variable("UNWANTED", "2").start())
}

#[test]
fn environment_has_only_added_and_listed_variables() {
    let (port, _daemon) = service(
        "'@', 'environment'",
        "inherit_environment = ['WANTED']\nenvironment = { ADDED = 'a b', WANTED = '3' }",
    );
    let found = Client::connect(port).read_text();
    let lines: Vec<&str> = found.lines().collect();
    assert!(lines.contains(&"ADDED=a b") && lines.contains(&"WANTED=3"), "{found}");
    assert!(!found.contains("UNWANTED"), "{found}");
    assert!(lines.contains(&"WININETD_SERVICE=a") && found.contains("CLIENT_IP=127.0.0.1"), "{found}");
}

#[test]
fn relative_directory_is_resolved_from_the_files_folder() {
    let (port, daemon) = service("'@', 'directory'", "directory = '.'");
    let found = Client::connect(port).read_text();
    let folder = daemon.file("").canonicalize().unwrap();
    assert_eq!(std::path::Path::new(&found).canonicalize().unwrap(), folder);
}

#[test]
fn its_standard_error_can_go_nowhere() {
    let (port, _daemon) = service("'@', 'complain', 'seen'", "stderr = 'discard'");
    assert_eq!(Client::connect(port).read_text(), "");
    let (port, _daemon) = service("'@', 'complain', 'seen'", "stderr = 'client'");
    assert_eq!(Client::connect(port).read_text(), "seen");
}

#[test]
fn a_banner_comes_before_what_the_program_says() {
    let (port, _daemon) = service("'@', 'say', 'program'", "banner = \"banner\\r\\n\"");
    assert_eq!(Client::connect(port).read_text(), "banner\r\nprogram");
}

#[cfg(unix)]
mod unix {
    use std::io::{Read, Write};
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use testkit::Gate;

    fn is_root() -> bool {
        // SAFETY: no preconditions.
        unsafe { libc::geteuid() == 0 }
    }

    fn can_be_kept() -> bool {
        wininetd::sys::limits::processes_fault().is_none()
    }

    #[test]
    fn memory_and_descriptors_end_at_their_limits() {
        let allocate = "'@', 'allocate', '200000000'";
        let (port, _daemon) = service(allocate, "limits = { memory = '64MiB' }");
        assert_eq!(Client::connect(port).read_text(), "refused\n");
        let (port, _daemon) = service(allocate, "limits = { memory = '512MiB' }");
        assert_eq!(Client::connect(port).read_text(), "allocated 200000000\n");
        let (port, _daemon) = service("'@', 'open', '100'", "limits = { open_files = 20 }");
        assert_eq!(Client::connect(port).read_text(), "opened 17\n");
    }

    #[test]
    fn processor_time_ends_at_its_limit() {
        let (port, daemon) = service("'@', 'spin'", "limits = { cpu_time = '1s' }");
        let mut client = Client::connect(port);
        assert!(client.is_turned_away());
        let client_port = client.port();
        drop(client);
        // SIGXCPU, or SIGKILL if the program ignores it.
        let record = daemon.record(client_port);
        assert_eq!(record["signal"], libc::SIGXCPU, "{record}");
    }

    #[test]
    fn a_group_takes_the_place_of_the_accounts_own() {
        if !is_root() {
            return;
        }
        let (port, _daemon) = service("'/usr/bin/id', '-gn'", "user = 'nobody'\ngroup = 'daemon'");
        assert_eq!(Client::connect(port).read_text(), "daemon\n");
    }

    #[test]
    fn process_limit_needs_cgroups_and_is_an_error_without() {
        let gate = Gate::new();
        let text = format!(
            "[service.a]\nlisten = {}\ncommand = ['@', 'fork', '8', '{}']\nlimits = {{ processes = 4 }}\n",
            free_port(),
            gate.address()
        );
        let port: u16 = text.lines().nth(1).unwrap().split(' ').next_back().unwrap().parse().unwrap();
        let daemon = Builder::native(&text).launch();
        if !can_be_kept() {
            let finished = daemon.finish();
            assert_eq!(finished.code, Some(78), "{}", finished.errors);
            assert!(finished.errors.contains("`processes`"), "{}", finished.errors);
            return;
        }
        daemon.event("ready", |_| true);
        let mut client = Client::connect(port);
        let told: String =
            String::from_utf8(client.read_exact("1 started\n".len() * 3 + "4 failed\n".len())).unwrap();
        assert!(told.starts_with("1 started\n2 started\n3 started\n4 failed\n"), "{told}");
        drop((0..4).map(|_| gate.visitor()).collect::<Vec<_>>());
        assert!(String::from_utf8(client.read_all()).unwrap().contains("8 failed"));
        drop(client);
        assert_eq!(daemon.stop().code, Some(0));
    }

    #[test]
    fn unix_socket_serves_and_is_removed_at_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let text = format!(
            "[service.a]\nlisten = 'unix:{}'\ncommand = ['@', 'environment']\nsocket_mode = '0600'\n",
            path.display()
        );
        let daemon = Builder::native(&text).start();
        let found = std::fs::metadata(&path).unwrap();
        assert!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600);
        let mut stream = UnixStream::connect(&path).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.contains("PROTO=UNIX\n") && !said.contains("CLIENT_IP"), "{said}");
        assert!(said.contains(&format!("UNIXREMOTEEUID={}\n", found.uid())), "{said}");
        drop(stream);
        let record = daemon.event("session", |_| true);
        assert_eq!(record["peer"], format!("unix:uid={}", found.uid()));
        assert_eq!(record["local"], format!("unix:{}", path.display()));
        // Another mode makes another socket at the same path.
        daemon.rewrite(&text.replace("0600", "0666"));
        daemon.reload();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(daemon.stop().code, Some(0));
        assert!(!path.exists());
    }

    #[test]
    fn no_socket_is_made_in_a_folder_writable_by_others() {
        let port = free_port();
        for (mode, why) in [(0o777, "everybody can change"), (0o1777, "everybody can create files in")] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
            let path = folder.path().join("s.sock");
            let daemon = Builder::native(&format!(
                "[service.a]\nlisten = ['127.0.0.1:{port}', 'unix:{}']\ncommand = ['@', 'say', 'yes']\n",
                path.display()
            ))
            .start();
            let failed = daemon.event("listen_failed", |_| true);
            assert!(failed["cause"].as_str().unwrap().contains(why), "{failed}");
            assert!(!path.exists());
            assert_eq!(Client::connect(port).read_text(), "yes");
            let config = daemon.file("wininetd.toml");
            let checked = testkit::run(&["--check", "--cfgfile", config.to_str().unwrap()]);
            assert!(checked.output.contains("no socket is made there"), "{}", checked.output);
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
            daemon.event("listen_recovered", |_| true);
            UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn stale_socket_is_replaced_and_a_foreign_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let text = format!("[service.a]\nlisten = 'unix:{}'\ncommand = ['@', 'line']\n", path.display());
        drop(UnixListener::bind(&path).unwrap());
        let daemon = Builder::native(&text).start();
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"hello\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello\n");
        daemon.kill();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a file").unwrap();
        let finished = Builder::native(&text).launch().finish();
        assert_eq!(finished.code, Some(69), "{}", finished.errors);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
        std::fs::remove_file(&path).unwrap();
        let stranger = UnixListener::bind(&path).unwrap();
        let finished = Builder::native(&text).launch().finish();
        assert_eq!(finished.code, Some(69), "{}", finished.errors);
        assert!(UnixStream::connect(&path).is_ok());
        drop(stranger);
    }
}
