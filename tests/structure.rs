//! The rules of the source tree hold: which files may name a system, contain `unsafe`, or import
//! others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::path::{Path, PathBuf};

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    assert!(found.len() > 20);
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
    found.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn only_sys_and_host_ask_which_system_this_is() {
    for (name, text) in sources() {
        let allowed = name.starts_with("sys/") || name.starts_with("host/");
        let asks = code(&text).find(|line| {
            ["cfg(unix", "cfg(windows", "cfg!(unix", "cfg!(windows", "target_os"]
                .iter()
                .any(|word| line.contains(word))
        });
        assert!(allowed || asks.is_none(), "{name}: {asks:?}");
    }
}

#[test]
fn only_sys_is_unsafe() {
    for (name, text) in sources() {
        let found = code(&text).find(|line| {
            line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl")
        });
        assert!(name.starts_with("sys/") || found.is_none(), "{name}: {found:?}");
    }
}

/// A fork duplicates the state of random generators and locks, which was a fault in other servers.
/// Process 1 and `--run` fork before such state exists.
#[test]
fn only_an_exec_follows_a_fork() {
    for (name, text) in sources() {
        let forks = code(&text)
            .find(|line| ["libc::fork", "libc::clone", "libc::vfork"].iter().any(|call| line.contains(call)));
        let allowed =
            ["sys/unix/start_clone.rs", "sys/unix/start_fork.rs", "sys/unix/init.rs", "sys/unix/terminal.rs"]
                .contains(&&*name);
        assert!(allowed || forks.is_none(), "{name}: {forks:?}");
    }
}

/// In another product, users who could change the registered service gained its rights.
#[test]
fn server_never_changes_the_registered_services_access() {
    for (name, text) in sources() {
        let found =
            code(&text).find(|line| line.contains("SetServiceObjectSecurity") || line.contains("sdset"));
        assert!(found.is_none(), "{name}: {found:?}");
    }
}

/// The floors of the crate, from the top. A folder imports only from floors below. Folders of one
/// floor may import from each other without a cycle.
const FLOORS: [&[&str]; 9] = [
    &["cli"],
    &["host"],
    &["supervisor"],
    &["session"],
    &["listen", "spawn", "log", "control"],
    &["config", "tls", "convert"],
    &["sys"],
    &["core"],
    &["model"],
];

fn floor(folder: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&folder))
        .unwrap_or_else(|| panic!("{folder} is on no floor; add it to FLOORS"))
}

/// A line with its file in folder `from` that names folder `to`.
struct Import {
    from: String,
    to: String,
    place: String,
}

/// Every `crate::FOLDER` in every folder. `lib.rs` and `main.rs` are above all floors.
fn imports() -> Vec<Import> {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let Some((from, _)) = name.split_once('/') else { continue };
        for (number, line) in code(&text).enumerate() {
            for path in line.split("crate::").skip(1) {
                let to: String =
                    path.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                assert!(!to.is_empty(), "{name}: name one folder in a line: {line}");
                if to != from {
                    let place = format!("{name}, line {} of its code: {}", number + 1, line.trim());
                    found.push(Import { from: from.to_owned(), to, place });
                }
            }
        }
    }
    assert!(found.len() > 100, "{}", found.len());
    found
}

/// Code in tests may import anything.
#[test]
fn imports_go_down_only() {
    let up: Vec<String> = imports()
        .into_iter()
        .filter(|import| {
            floor(&import.to) < floor(&import.from) || import.from == "core" && import.to != "model"
        })
        .map(|import| import.place)
        .collect();
    assert!(up.is_empty(), "these run up:\n{}", up.join("\n"));
}

/// A `super::` path out of a folder would hide an import from these tests.
#[test]
fn another_folder_is_named_by_its_whole_path() {
    for (name, text) in sources() {
        let depth = name.trim_end_matches("/mod.rs").split('/').count();
        let leaves = "super::".repeat(depth);
        let found = code(&text).find(|line| line.contains(&leaves));
        assert!(found.is_none(), "{name}: {found:?}");
    }
}

#[test]
fn no_folders_of_one_floor_import_each_other_in_a_circle() {
    let imports = imports();
    let beside = |from: &str| -> Vec<String> {
        let same = imports.iter().filter(|import| import.from == from && floor(&import.to) == floor(from));
        same.map(|import| import.to.clone()).collect()
    };
    for start in FLOORS.concat() {
        let (mut seen, mut next) = (Vec::new(), beside(start));
        while let Some(folder) = next.pop() {
            assert_ne!(folder, start, "{start} reaches itself by {seen:?}");
            if !seen.contains(&folder) {
                next.extend(beside(&folder));
                seen.push(folder);
            }
        }
    }
}

#[test]
fn the_core_and_the_model_have_no_clock_and_no_io() {
    for (name, text) in sources() {
        if !name.starts_with("core/") && !name.starts_with("model/") {
            continue;
        }
        for word in ["Instant", "SystemTime", "std::io", "std::fs::", "tokio", "std::thread", "Mutex"] {
            let found = code(&text).find(|line| line.contains(word));
            assert!(found.is_none(), "{name}: {found:?}");
        }
    }
}

/// A jump of the system clock must change nothing except times in the log.
#[test]
fn wall_clock_is_used_only_for_logs_and_certificates() {
    for (name, text) in sources() {
        let found = code(&text).find(|line| {
            ["SystemTime", "UnixTime", "Timestamp::now", "Zoned::now", "CLOCK_REALTIME", "GetSystemTime"]
                .iter()
                .any(|word| line.contains(word))
        });
        let allowed = name.starts_with("log/") || name.starts_with("tls/");
        assert!(allowed || found.is_none(), "{name}: {found:?}");
    }
}

#[test]
fn the_session_names_no_system() {
    for (name, text) in sources().into_iter().filter(|(name, _)| name.starts_with("session/")) {
        let found = code(&text)
            .find(|line| ["std::os", "libc", "windows_sys"].iter().any(|word| line.contains(word)));
        assert!(found.is_none(), "{name}: {found:?}");
    }
}

#[test]
fn every_file_says_what_it_is_for_and_none_is_overlong() {
    for (name, text) in sources() {
        assert!(text.starts_with("//!"), "{name} does not say what it is for");
        assert!(text.lines().count() <= 450, "{name} has {} lines", text.lines().count());
    }
}
