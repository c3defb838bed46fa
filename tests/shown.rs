//! The README shows the output that the built program prints for its example file. Native files in
//! other pages have no errors.
//!
//! Each test of the README runs the command of a block and compares the output with the block. It
//! first replaces values that differ between runs by those of the page.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::process::Command;

use testkit::{Builder, Client, free_port, has_all_rights, run};

fn block(first: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let page = std::fs::read_to_string(path).unwrap();
    let blocks = page.split("```\n").skip(1).step_by(2);
    let found: Vec<&str> = blocks.filter(|block| block.lines().next() == Some(first)).collect();
    assert_eq!(found.len(), 1, "README.md has one block that begins with: {first}");
    found[0].to_owned()
}

fn five_conf() -> String {
    block("# PORT  USER:PASS  CMDLINE")
}

/// An ordinary user cannot run programs as `nobody`, so the file says `none`.
fn account() -> &'static str {
    if has_all_rights() { "nobody" } else { "none" }
}

/// `7777` on the page is a free port in the test, and `alice` is the test's user.
#[test]
fn a_program_is_served_in_one_line() {
    let port = free_port();
    let served = block("$ wininetd --debug --serve 7777=whoami");
    let words: Vec<String> =
        served.split_whitespace().map(|word| word.replace("7777", &port.to_string())).collect();
    assert_eq!(words[..3], ["$", "wininetd", "--debug"]);
    let arguments: Vec<&str> = words[3..].iter().map(String::as_str).collect();
    let _daemon = Builder::without_file(&arguments).start();

    let asked = block("$ curl -s telnet://127.0.0.1:7777 </dev/null");
    let (command, shown) = asked.split_once('\n').unwrap();
    let user = String::from_utf8(Command::new("whoami").output().unwrap().stdout).unwrap();
    let answer = match curl_speaks_telnet() {
        true => {
            let command = command.trim_start_matches("$ ").replace("7777", &port.to_string());
            let done = Command::new("sh").args(["-c", &command]).output().unwrap();
            String::from_utf8(done.stdout).unwrap()
        }
        // Some systems have no curl, or a curl without telnet.
        false => Client::connect(port).read_text(),
    };
    assert_eq!(answer.replace(user.trim_end(), "alice"), shown);
}

fn curl_speaks_telnet() -> bool {
    let version = Command::new("curl").arg("--version").output();
    version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains(" telnet "))
}

/// `/root` on the page is the test's folder. The page shows the output for root, so the test
/// removes warnings that only other users get.
#[test]
fn check_shows_the_mistake_with_a_caret() {
    let shown = block("# wininetd --check --cfgfile five.conf");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("five.conf");
    std::fs::write(&file, five_conf()).unwrap();
    let checked = run(&["--check", "--cfgfile", &file.display().to_string()]);
    assert_eq!((checked.code, &*checked.output), (Some(78), ""));
    let errors = checked.errors.replace(&folder.path().display().to_string(), "/root");
    let errors = if has_all_rights() { errors } else { without_warnings(&errors) };
    assert_eq!(format!("# wininetd --check --cfgfile five.conf\n{errors}"), shown);
}

/// Removes each warning with its source lines and its hint.
fn without_warnings(text: &str) -> String {
    let mut in_warning = false;
    let kept = text.lines().filter(|line| {
        let of_the_file = line.trim_start_matches(|letter: char| letter.is_ascii_digit()).starts_with(" | ");
        if !of_the_file && !line.starts_with(' ') {
            in_warning = line.contains(": warning: ");
        }
        !in_warning
    });
    kept.map(|line| format!("{line}\n")).collect()
}

/// Serves the file as on the page: with 7780 in its last line, for three clients and a connected
/// fourth that has sent six bytes. Only Linux counts bytes. [`as_on_the_page`] has the rules.
#[cfg(target_os = "linux")]
#[test]
fn status_shows_services_and_sessions() {
    use std::time::Instant;

    let shown = block("# wininetd --status");
    let ports: Vec<(String, String)> = ["7777", "7778", "7779", "7780"]
        .iter()
        .map(|port| ((*port).to_owned(), free_port().to_string()))
        .collect();
    let mut file = five_conf().replace("77780", "7780").replace("nobody", account());
    for (page, free) in &ports {
        file = file.replace(page, free);
    }
    let daemon = Builder::of_bytes(file.as_bytes()).start();
    let port = |at: usize| ports[at].1.parse().unwrap();
    for at in [0, 0, 1] {
        assert!(!Client::connect(port(at)).read_text().is_empty());
    }
    daemon.records(3);
    let mut fourth = Client::connect(port(2));
    assert_eq!(fourth.send(b"hello\n").read_exact(6), b"hello\n");

    // The kernel counts a byte when the client acknowledges it.
    let until = Instant::now() + testkit::LIMIT;
    loop {
        let status = daemon.ask(&["--status"]);
        assert_eq!(status.code, Some(0), "{}", status.errors);
        let found = format!("# wininetd --status\n{}", as_on_the_page(&status.output, &ports));
        if found == shown {
            return;
        }
        assert!(Instant::now() < until, "{found}\nthe page:\n{shown}");
        daemon.wait_a_moment();
    }
}

/// Puts the page's values into the status: process ids, times, the client's port and the ports of
/// services. A free port has one digit more, so a blank replaces it in the first column.
#[cfg(target_os = "linux")]
fn as_on_the_page(status: &str, ports: &[(String, String)]) -> String {
    let mut text = String::new();
    for line in status.lines() {
        let cells: Vec<&str> = line.trim_start().split("  ").collect();
        let mut line = match cells[..] {
            [session, client, process, _, bytes] if session.starts_with("session ") => {
                let (address, _) = client.rsplit_once(':').unwrap();
                assert!(process.starts_with("process "), "{process}");
                format!("    {session}  {address}:50312  process 4755  0.4 s  {bytes}")
            }
            [head] if head.starts_with("wininetd ") => {
                let version = head.split(", process ").next().unwrap();
                format!("{version}, process 4711, up 12.3 s")
            }
            _ => line.to_owned(),
        };
        for (page, free) in ports {
            if line.starts_with(free.as_str()) {
                line = line.replacen(free.as_str(), &format!("{page} "), 1);
            }
            line = line.replace(free.as_str(), page);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Missing accounts and programs are only warnings.
#[test]
fn native_files_of_pages_have_no_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.toml");
    for page in ["docs/windows.md"] {
        let text = std::fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let blocks: Vec<&str> =
            text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty(), "{page}");
        for block in blocks {
            std::fs::write(&file, block).unwrap();
            let checked = run(&["--check", "--cfgfile", &file.display().to_string()]);
            assert_eq!(checked.code, Some(0), "{page}: {}", checked.errors);
        }
    }
}
