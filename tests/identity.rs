//! A program never runs with more rights than configured. If the server cannot take the whole
//! identity it starts nothing. A program cannot regain the rights of the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Gate, Value, free_port, probe};

struct SharedProbe {
    #[cfg_attr(windows, allow(dead_code))]
    folder: tempfile::TempDir,
}

impl SharedProbe {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        testkit::copy_program(&testkit::probe_path(), &folder.path().join("probe.exe"));
        #[cfg(unix)]
        for path in [folder.path().to_owned(), folder.path().join("probe.exe")] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        SharedProbe { folder }
    }

    fn does(&self, what: &str) -> String {
        format!("{} {what}", testkit::quoted(&self.folder.path().join("probe.exe")))
    }
}

#[test]
fn the_account_of_a_line_is_in_its_record() {
    let port = free_port();
    let daemon = Builder::new(&[format!("{port} nosuchuser:x {}", probe("say no"))]).start();
    let mut client = Client::connect(port);
    assert!(client.is_turned_away());
    assert_eq!(daemon.record(client.port())["user"], "nosuchuser");
}

#[cfg(unix)]
mod unix {
    use super::*;

    fn is_root() -> bool {
        // SAFETY: no preconditions.
        unsafe { libc::geteuid() == 0 }
    }

    fn lines(state: &str) -> Vec<&str> {
        state.lines().collect()
    }

    #[test]
    fn program_has_its_accounts_ids_and_cannot_switch_back() {
        if !is_root() {
            return as_ordinary_user();
        }
        let (port, program) = (free_port(), SharedProbe::new());
        let _daemon = Builder::new(&[format!("{port} nobody: {}", program.does("state"))]).start();
        let state = Client::connect(port).read_text();
        let nobody = id("nobody");
        for expected in [
            format!("uid {0} {0}", nobody.0),
            format!("gid {0} {0}", nobody.1),
            format!("groups [{}]", nobody.1),
            "back false".to_owned(),
        ] {
            assert!(lines(&state).contains(&&*expected), "{expected}:\n{state}");
        }
    }

    /// A second code path to start programs once ignored the account.
    #[test]
    fn every_start_path_applies_the_account() {
        if !is_root() {
            return as_ordinary_user();
        }
        let program = SharedProbe::new();
        let path = program.folder.path().join("probe.exe");
        let nobody = id("nobody");
        for keys in ["stdio = 'socket'", "stdio = 'pipe'", "warm = 1", "proxy_protocol = ['127.0.0.1']"] {
            let port = free_port();
            let daemon = Builder::native(&format!(
                "[service.a]\nlisten = '127.0.0.1:{port}'\nuser = 'nobody'\n\
                 command = ['{}', 'waits', 'state']\n{keys}\n",
                path.display()
            ))
            .start();
            if keys.starts_with("warm") {
                daemon.warm("a", 1);
            }
            let mut client = Client::connect(port);
            if keys.starts_with("proxy") {
                client.send(&testkit::proxy::v1("192.0.2.7:4711", "198.51.100.1:443"));
            }
            let state = client.send(b"\n").read_text();
            for expected in [format!("uid {0} {0}", nobody.0), format!("groups [{}]", nobody.1)] {
                assert!(lines(&state).contains(&&*expected), "{keys}: {expected}:\n{state}");
            }
        }
    }

    /// An ordinary user can run programs only as itself. The record says so.
    fn as_ordinary_user() {
        let (port, gate) = (free_port(), Gate::new());
        let daemon =
            Builder::new(&[format!("{port} root: {}", probe(&format!("gate {}", gate.address())))]).start();
        let mut client = Client::connect(port);
        assert!(client.is_turned_away());
        let record = daemon.record(client.port());
        assert_eq!((&record["outcome"], &record["step"]), (&"failed".into(), &"account".into()));
        assert!(!gate.is_visited());
    }

    fn id(name: &str) -> (u32, u32) {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        let fields: Vec<_> = line.split(':').collect();
        (fields[2].parse().unwrap(), fields[3].parse().unwrap())
    }

    #[test]
    fn environment_comes_from_the_configured_account() {
        let user = if is_root() { "nobody".to_owned() } else { std::env::var("USER").unwrap() };
        let (port, program) = (free_port(), SharedProbe::new());
        let builder = Builder::new(&[format!("{port} {user}:ignored {}", program.does("environment"))]);
        let daemon = builder.variable("OURS", "secret").variable("LC_TEST", "kept").start();
        let mut client = Client::connect(port);
        let environment = client.read_text();
        for expected in [format!("USER={user}"), format!("LOGNAME={user}"), "LC_TEST=kept".to_owned()] {
            assert!(lines(&environment).contains(&&*expected), "{expected}:\n{environment}");
        }
        assert!(
            environment.contains("\nHOME=/")
                && environment.contains("\nPATH=")
                && environment.contains("\nSHELL=")
        );
        assert!(!environment.contains("OURS="), "{environment}");
        let client_port = client.port();
        drop(client);
        assert_eq!(daemon.record(client_port)["user"], user);
    }

    #[test]
    fn program_forbidden_to_its_account_fails_at_exec() {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode;
        std::fs::set_permissions(folder.path(), mode(0o700)).unwrap();
        let program = folder.path().join("probe");
        testkit::copy_program(&testkit::probe_path(), &program);
        if !is_root() {
            std::fs::set_permissions(&program, mode(0o600)).unwrap();
        }
        let user = if is_root() { "nobody" } else { "none" };
        let daemon = Builder::new(&[format!("{port} {user} {} say no", testkit::quoted(&program))]).start();
        let mut client = Client::connect(port);
        assert!(client.is_turned_away());
        let record = daemon.record(client.port());
        assert_eq!(record["outcome"], "failed");
        assert!(["exec", "program"].contains(&record["step"].as_str().unwrap()), "{record}");
    }

    /// A server that is not root but may change its identity must drop its capabilities too.
    /// Changing the user alone does not drop them.
    #[cfg(all(target_os = "linux", not(portable_unix)))]
    #[test]
    fn capabilities_of_the_server_do_not_reach_the_program() {
        if !is_root() {
            return as_ordinary_user();
        }
        let found = as_daemon("nobody:", "+setuid,+setgid,+kill");
        assert_eq!(found, format!("CapInh 0\nCapPrm 0\nCapEff 0\nCapAmb 0\nuid {}\n", id("nobody").0));
    }

    #[cfg(all(target_os = "linux", not(portable_unix)))]
    #[test]
    fn program_of_the_servers_own_account_has_no_capabilities() {
        if !is_root() {
            return as_ordinary_user();
        }
        let found = as_daemon("daemon:", "+net_bind_service");
        assert_eq!(found, format!("CapInh 0\nCapPrm 0\nCapEff 0\nCapAmb 0\nuid {}\n", id("daemon").0));
    }

    /// The server does not start programs as another user if it may not kill them.
    #[cfg(all(target_os = "linux", not(portable_unix)))]
    #[test]
    fn server_that_cannot_kill_programs_does_not_start_them() {
        if !is_root() {
            return as_ordinary_user();
        }
        assert_eq!(as_daemon("nobody:", "+setuid,+setgid"), "failed at account");
    }

    /// What a program of this account finds if the server runs as `daemon` with these capabilities.
    #[cfg(all(target_os = "linux", not(portable_unix)))]
    fn as_daemon(account: &str, capabilities: &str) -> String {
        let (port, program) = (free_port(), SharedProbe::new());
        let builder = Builder::new(&[format!("{port} {account} {}", program.does("capabilities"))]);
        let (uid, gid) = id("daemon");
        // Only root may be able to reach the folder of the build.
        let shared = program.folder.path().join("wininetd");
        testkit::copy_program(&testkit::wininetd(), &shared);
        let (user, group) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        let (inherited, ambient) =
            (format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}"));
        let starter = ["setpriv", &user, &group, "--clear-groups", &inherited, &ambient];
        let daemon = builder.of_binary(&shared).through(&starter).start();
        let mut client = Client::connect(port);
        let found = client.read_text();
        let client_port = client.port();
        drop(client);
        let record = daemon.record(client_port);
        if record["outcome"] == "served" {
            return found;
        }
        format!("failed at {}", record["step"].as_str().unwrap())
    }

    #[test]
    fn without_an_identity_a_program_runs_as_the_server_does() {
        let port = free_port();
        let daemon = Builder::new(&[format!("{port} none {}", probe("state"))]).start();
        // SAFETY: no preconditions.
        let own = unsafe { libc::getuid() };
        let mut client = Client::connect(port);
        assert!(client.read_text().starts_with(&format!("uid {own} {own}\n")));
        let client_port = client.port();
        drop(client);
        assert_eq!(daemon.record(client_port)["user"], Value::Null);
    }
}

#[cfg(windows)]
mod windows {
    use super::*;

    /// A real logon needs a test account, so the test build uses the server's own token.
    #[test]
    fn with_a_token_the_program_runs_with_the_accounts_environment() {
        let (port, program) = (free_port(), SharedProbe::new());
        let line = format!("{port} someone:secret {}", program.does("environment"));
        let builder = Builder::new(&[line]).variable("WININETD_TEST_LOGON", "own");
        let daemon = builder.variable("OURS", "secret").start();
        for _ in 0..2 {
            let mut client = Client::connect(port);
            let environment = client.read_text();
            assert!(environment.contains("CLIENT_IP=127.0.0.1"), "{environment}");
            assert!(environment.to_lowercase().contains("\nsystemroot="), "{environment}");
            assert!(!environment.contains("OURS="), "{environment}");
            let client_port = client.port();
            drop(client);
            let record = daemon.record(client_port);
            assert_eq!((&record["user"], &record["exit"]), (&"someone".into(), &0.into()));
        }
    }

    #[test]
    fn a_stop_unloads_every_profile_that_was_loaded() {
        let (port, program, folder) = (free_port(), SharedProbe::new(), tempfile::tempdir().unwrap());
        let seen = folder.path().join("seen");
        let line = format!("{port} someone:secret {}", program.does("say hello"));
        let builder = Builder::new(&[line]).variable("WININETD_TEST_LOGON", "own");
        let daemon = builder.variable(testkit::faults::SEEN, &seen.display().to_string()).start();
        assert_eq!(Client::connect(port).read_text(), "hello");
        assert_eq!(daemon.stop().code, Some(0));
        let seen = testkit::faults::Seen::read(&seen);
        assert_eq!((seen.count("profile-loaded"), seen.count("profile-unloaded")), (1, 1));
    }

    #[test]
    fn program_runs_although_its_profile_cannot_be_loaded() {
        for fault in ["profile:denied:1+", "profile:privilege:1+"] {
            let (port, program) = (free_port(), SharedProbe::new());
            let line = format!("{port} someone:secret {}", program.does("say hello"));
            let builder = Builder::new(&[line]).variable("WININETD_TEST_LOGON", "own");
            let daemon = builder.variable("WININETD_TEST_FAULTS", fault).start();
            let said = |event: &Value| event["message"].to_string().contains("without its profile");
            for _ in 0..2 {
                assert_eq!(Client::connect(port).read_text(), "hello");
                daemon.event("configuration", said);
                // A reload logs on again, but does not repeat the message.
                daemon.reload();
            }
            assert_eq!(daemon.events().iter().filter(|event| said(event)).count(), 1);
        }
    }

    #[test]
    fn refused_logon_is_not_retried_for_one_minute() {
        let (port, gate) = (free_port(), Gate::new());
        let line = format!("{port} nosuchuser:wrong {}", probe(&format!("gate {}", gate.address())));
        let daemon = Builder::new(&[line]).start();
        let failed = |event: &&Value| event["event"] == "session" && event["outcome"] == "failed";
        while daemon.events().iter().filter(failed).count() < 2 {
            assert!(Client::connect(port).is_turned_away());
            daemon.wait_a_moment();
        }
        let events = daemon.events();
        let reasons: Vec<&Value> = events.iter().filter(failed).map(|event| &event["reason"]).collect();
        assert!(!reasons[0].to_string().contains("not tried again"), "{}", reasons[0]);
        assert!(reasons[1].to_string().contains("not tried again for"), "{}", reasons[1]);
        assert!(!gate.is_visited());
    }

    #[test]
    fn user_without_a_password_is_an_error_with_a_hint() {
        let finished =
            Builder::new(&[format!("{} someone {}", free_port(), probe("say no"))]).launch().finish();
        assert_eq!(finished.code, Some(78));
        assert!(finished.errors.contains("someone:PASSWORD"), "{}", finished.errors);
    }
}
