//! A log that cannot be written harms no session, and the server counts the lost lines.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::{Builder, Client, LIMIT, free_port, probe};

fn serve(port: u16, count: usize) {
    for _ in 0..count {
        assert_eq!(Client::connect(port).send(b"served\n").read_text(), "served\n");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn failing_log_file_affects_no_session() {
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    let log = builder.folder().join("log");
    let daemon = builder
        .arguments(&["--log-file", log.to_str().unwrap()])
        .variable("WININETD_TEST_FAULTS", "log-write:1+")
        .start();
    serve(port, 50);
    daemon.records(50);
    daemon.uses_less_than(0.05);
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn log_at_the_file_size_limit_affects_no_session() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    let builder =
        builder.arguments(&["--log-file", log.to_str().unwrap()]).through(&["prlimit", "--fsize=4096"]);
    let daemon = builder.start();
    serve(port, 50);
    daemon.records(50);
    let size = std::fs::metadata(&log).unwrap().len();
    assert!((3500..=4096).contains(&size), "the limit was not reached: {size}");
    assert_eq!(daemon.stop().code, Some(0));
}

/// Mounts a small file system at `room` for the server, if the user may mount one.
#[cfg(target_os = "linux")]
fn in_a_small_room(builder: Builder, room: &Path) -> Option<Builder> {
    let may = std::process::Command::new("unshare").args(["--mount", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        return None;
    }
    let script = format!("mount -t tmpfs -o size=64k,mode=0700 none '{}' && exec \"$@\"", room.display());
    Some(builder.through(&["unshare", "--mount", "sh", "-c", &script, "sh"]))
}

#[test]
#[cfg(target_os = "linux")]
fn full_disk_affects_no_session_and_lost_lines_are_counted() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    let builder = builder.arguments(&["--log-file", log.to_str().unwrap()]);
    let Some(builder) = in_a_small_room(builder, folder.path()) else { return };
    let daemon = builder.start();
    let within = |path: &Path| {
        Path::new(&format!("/proc/{}/root", daemon.pid())).join(path.strip_prefix("/").unwrap())
    };
    serve(port, 5);
    let filler = within(&folder.path().join("filler"));
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    // The last page of the log may have room for some more lines.
    serve(port, 60);
    daemon.records(65);
    std::fs::remove_file(&filler).unwrap();
    drop(file);
    let lines = || std::fs::read_to_string(within(&log)).unwrap();
    let until = Instant::now() + LIMIT;
    while !lines().contains("log_lost") {
        assert!(Instant::now() < until, "no word of what is lost:\n{}", lines());
        daemon.wait_a_moment();
    }
    serve(port, 5);
    daemon.records(70);
    while lines().matches("\"session\":70,").count() == 0 {
        assert!(Instant::now() < until, "the last record is not there:\n{}", lines());
        daemon.wait_a_moment();
    }
    let mut lost = 0;
    let mut written = 0;
    for line in lines().lines() {
        let event: testkit::Value = serde_json::from_str(line).expect("whole lines only");
        match event["event"].as_str() {
            Some("log_lost") => lost += usize::try_from(event["lines"].as_u64().unwrap()).unwrap(),
            _ => written += 1,
        }
    }
    assert!(lost > 10, "the disk was never full");
    assert_eq!(written + lost, daemon.events().len(), "each line is there or counted");
}

#[test]
fn stalled_log_reader_delays_neither_sessions_nor_stop() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()));
    // Both ends of the pipe are open, and no process reads it.
    let reader = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe)
        .unwrap();
    let builder = Builder::new(&[format!("{port} none {}", probe("line"))]);
    let script = format!("exec \"$@\" 2>'{}'", pipe.display());
    let daemon = builder.through(&["sh", "-c", &script, "sh"]).launch();
    let until = Instant::now() + LIMIT;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "not served");
        std::thread::yield_now();
    }
    serve(port, 400);
    let stopping = Instant::now();
    daemon.request_stop();
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(stopping.elapsed() < Duration::from_secs(10), "{:?}", stopping.elapsed());
    drop(reader);
}
