//! `--run` starts a service's program on this console, in the same way as for a client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Finished, probe, run_with_input};

fn run_service(what: &str, input: &str) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wininetd.conf");
    std::fs::write(&file, format!("7777 none {}\n8888 none {}\n", probe(what), probe("say no"))).unwrap();
    run_with_input(&["--run", "7777", "--cfgfile", file.to_str().unwrap()], input)
}

#[test]
fn the_program_has_the_consoles_streams() {
    let finished = run_service("echo", "typed\n");
    assert_eq!((finished.code, &*finished.output), (Some(0), "typed\n"), "{}", finished.errors);
    let finished = run_service("complain seen", "");
    assert_eq!((&*finished.output, &*finished.errors), ("", "seen"));
}

#[test]
fn its_exit_code_is_the_programs() {
    assert_eq!(run_service("exit 7", "").code, Some(7));
    let crashed = if cfg!(windows) { 0xC000_0005_u32.cast_signed() } else { 128 + 6 };
    assert_eq!(run_service("crash", "").code, Some(crashed));
}

#[test]
fn the_program_finds_its_service_and_no_client() {
    let found = run_service("environment", "").output;
    let names: Vec<&str> = found.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(found.lines().any(|line| line == "WININETD_SERVICE=7777"), "{found}");
    for name in ["CLIENT_IP", "CLIENT_PORT", "REMOTE_ADDR", "PROTO", "TCPLOCALPORT", "WININETD_SESSION"] {
        assert!(!names.contains(&name), "{found}");
    }
}

#[test]
fn the_program_starts_where_a_clients_would() {
    let directory = run_service("directory", "").output.to_lowercase();
    assert_eq!(directory, if cfg!(windows) { r"c:\windows\system32" } else { "/" });
}

#[test]
fn argv0_is_the_programs_name_here_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wininetd.toml");
    let text = format!(
        "[service.a]\nlisten = '127.0.0.1:7777'\ncommand = ['{}', 'name']\nargv0 = 'other'\nuser = 'none'\n",
        testkit::probe_path().display()
    );
    std::fs::write(&file, text).unwrap();
    let finished = run_with_input(&["--run", "a", "--cfgfile", file.to_str().unwrap()], "");
    assert_eq!(finished.output, "other", "{}", finished.errors);
}

#[test]
fn an_unknown_service_is_answered_with_those_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wininetd.conf");
    std::fs::write(&file, format!("7777 none {}\n8888 none {}\n", probe("say no"), probe("say no"))).unwrap();
    let finished = run_with_input(&["--run", "web", "--cfgfile", file.to_str().unwrap()], "");
    assert_eq!(finished.code, Some(66));
    assert!(finished.errors.contains("no service web"), "{}", finished.errors);
    assert!(finished.errors.contains("7777, 8888"), "{}", finished.errors);
}

/// The server once ignored `--serve` here and ran the service of that name from the file.
#[test]
fn a_service_that_is_typed_beside_it_is_a_wrong_command_line() {
    let finished = run_with_input(&["--run", "a", "--serve", "8080=cat"], "");
    assert_eq!(finished.code, Some(64), "{}", finished.errors);
    assert!(finished.errors.contains("--run") && finished.errors.contains("--serve"), "{}", finished.errors);
}

#[test]
fn a_program_that_is_missing_is_told_with_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wininetd.conf");
    let missing = folder.path().join("missing");
    std::fs::write(&file, format!("7777 none \"{}\"\n", missing.display())).unwrap();
    let finished = run_with_input(&["--run", "7777", "--cfgfile", file.to_str().unwrap()], "");
    assert_eq!(finished.code, Some(71));
    assert!(finished.errors.contains("not started, at step program"), "{}", finished.errors);
}
