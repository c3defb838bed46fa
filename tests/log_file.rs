//! The server writes its log only to a regular file that no other user except an administrator can
//! replace.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Builder, Client, Finished, free_port, probe, run};

fn builder() -> Builder {
    Builder::new(&[format!("{} none {}", free_port(), probe("line"))])
}

fn start(log: &Path) -> Finished {
    builder().arguments(&["--log-file", log.to_str().unwrap()]).launch().finish()
}

fn check(log: &Path) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("w.conf");
    std::fs::write(&config, "# no services\n").unwrap();
    run(&["--check", "--cfgfile", config.to_str().unwrap(), "--log-file", log.to_str().unwrap()])
}

fn in_a_folder(mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
    let log = folder.path().join("log");
    (folder, log)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[test]
fn symlinked_log_file_stops_the_start() {
    let (folder, log) = in_a_folder(0o700);
    let target = folder.path().join("target");
    for has_target in [false, true] {
        if has_target {
            std::fs::write(&target, "text\n").unwrap();
        } else {
            symlink(&target, &log).unwrap();
        }
        for finished in [start(&log), check(&log)] {
            assert_eq!(finished.code, Some(78), "{}", finished.errors);
            let said = finished.errors.contains("this is a link, and links are not followed here");
            assert!(said, "{}", finished.errors);
            let place = format!("--log-file:1:1: the log file {}", log.display());
            assert!(finished.errors.contains(&place), "{}", finished.errors);
        }
    }
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "text\n");
}

#[test]
fn pipe_as_log_file_stops_the_start() {
    let (_folder, log) = in_a_folder(0o700);
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    for finished in [start(&log), check(&log)] {
        assert_eq!(finished.code, Some(78), "{}", finished.errors);
        assert!(finished.errors.contains("this is not a regular file"), "{}", finished.errors);
    }
}

#[test]
fn a_new_log_file_is_not_for_everybody() {
    let (_folder, log) = in_a_folder(0o700);
    let daemon = builder()
        .arguments(&["--log-file", log.to_str().unwrap()])
        .through(&["sh", "-c", "umask 0; exec \"$@\"", "sh"])
        .start();
    assert_eq!(std::fs::metadata(&log).unwrap().mode() & 0o777, 0o640);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn root_refuses_a_log_folder_writable_by_others() {
    if !is_root() {
        return;
    }
    for (mode, cure) in [(0o777, "corrects that"), (0o1777, "use a folder that only")] {
        let (folder, log) = in_a_folder(mode);
        let finished = start(&log);
        assert_eq!(finished.code, Some(78), "{mode:o}: {}", finished.errors);
        let said = format!("everybody can change {}", folder.path().display());
        assert!(finished.errors.contains(&said), "{}", finished.errors);
        assert!(finished.errors.contains(cure), "{}", finished.errors);
        assert!(!log.exists(), "it was made all the same");
        let checked = check(&log);
        assert_eq!(checked.code, Some(78), "{}", checked.output);
        assert!(checked.errors.contains(&said), "{}", checked.errors);
    }
}

#[test]
fn root_refuses_a_log_below_another_users_folder() {
    if !is_root() {
        return;
    }
    let (folder, _) = in_a_folder(0o755);
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65_534), None).unwrap();
    let link = tempfile::tempdir().unwrap();
    symlink(&inner, link.path().join("link")).unwrap();
    for log in [inner.join("log"), link.path().join("link").join("log")] {
        let finished = start(&log);
        assert_eq!(finished.code, Some(78), "{}", finished.errors);
        assert!(finished.errors.contains("user 65534 can change"), "{}", finished.errors);
    }
}

#[test]
fn a_log_file_of_the_configuration_is_judged_at_its_place() {
    let builder = Builder::native("[server]\nlog_file = 'log'\n");
    symlink("/nowhere", builder.folder().join("log")).unwrap();
    let finished = builder.launch().finish();
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    let said = finished.errors.contains("wininetd.toml:2:12: the log file ");
    assert!(
        said && finished.errors.contains("\n2 | log_file = 'log'\n  |            ^^^^^\n"),
        "{}",
        finished.errors
    );
}

#[test]
fn reload_keeps_the_old_log_if_the_new_one_is_a_link() {
    let port = free_port();
    let text = |log: &str| {
        format!("[server]\nlog_file = '{log}'\n[service.a]\nlisten = {port}\ncommand = ['@', 'line']\n")
    };
    let daemon = Builder::native(&text("first")).start();
    let target = daemon.file("target");
    std::fs::write(&target, "").unwrap();
    symlink(&target, daemon.file("second")).unwrap();
    daemon.rewrite(&text("second"));
    daemon.reload();
    daemon.event("configuration", |event| {
        event["message"].to_string().contains("the previous destination stays in use")
    });
    assert_eq!(Client::connect(port).send(b"x\n").read_text(), "x\n");
    daemon.records(1);
    let log = daemon.file("first");
    let (_, text) = daemon.stop_and_read(&log);
    assert!(text.contains("\"outcome\":\"served\""), "{text}");
}

#[test]
fn a_full_log_file_that_cannot_be_renamed_is_said_once() {
    let port = free_port();
    let (folder, log) = in_a_folder(0o700);
    std::fs::File::create(&log).unwrap().set_len(10 << 20).unwrap();
    // A folder that is not empty blocks the name for the rotated file.
    std::fs::create_dir_all(folder.path().join("log.0/full")).unwrap();
    let daemon = Builder::new(&[format!("{port} none {}", probe("line"))])
        .arguments(&["--log-file", log.to_str().unwrap()])
        .start();
    for _ in 0..3 {
        assert_eq!(Client::connect(port).send(b"x\n").read_text(), "x\n");
    }
    daemon.records(3);
    let finished = daemon.stop();
    assert_eq!(finished.errors.matches("is full and keeps growing").count(), 1, "{}", finished.errors);
    let text = std::fs::read(&log).unwrap();
    let text = String::from_utf8_lossy(&text[10 << 20..]);
    assert_eq!(
        (text.matches("is full and keeps growing").count(), text.matches("\"session\"").count() > 0),
        (1, true)
    );
}
