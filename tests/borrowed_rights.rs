//! The server refuses to run if its program file carries setuid, setgid or capabilities: any user
//! could run programs with these rights.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use testkit::{Builder, Client, free_port, probe_path, wininetd};

/// CAP_KILL, CAP_SETGID and CAP_SETUID, which let a server start programs as other users.
const CAPABILITIES: u32 = 1 << 5 | 1 << 6 | 1 << 7;

fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

struct Shared {
    folder: TempDir,
}

impl Shared {
    /// `give` adds rights to a program file. Returns `None` if the file system or the test's user
    /// does not allow that.
    fn new(give: impl Fn(&Path) -> bool, shows: impl Fn(&str) -> bool) -> Option<Shared> {
        let shared = Shared { folder: tempfile::tempdir().unwrap() };
        std::fs::set_permissions(shared.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for (name, program) in [("probe", probe_path()), ("wininetd", wininetd())] {
            let copy = shared.file(name);
            testkit::copy_program(&program, &copy);
            std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
            if !is_root() || !give(&copy) {
                return None;
            }
        }
        let found = ["state", "capabilities"].map(|what| {
            let output = shared.as_nobody("probe").arg(what).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        });
        if !shows(&found.concat()) {
            return None;
        }
        let port = free_port();
        let line = format!("{port} root: {} state\n", shared.file("probe").display());
        std::fs::write(shared.file("wininetd.conf"), line).unwrap();
        Some(shared)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn as_nobody(&self, program: &str) -> Command {
        // Time limit: a server that runs by mistake does not exit by itself.
        let mut command = Command::new("timeout");
        command.args(["20", "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        command.arg(self.file(program));
        command
    }

    fn run(&self, verb: &[&str]) -> Output {
        self.as_nobody("wininetd")
            .args(verb)
            .arg("--cfgfile")
            .arg(self.file("wininetd.conf"))
            .output()
            .unwrap()
    }
}

fn all_refuse(shared: &Shared, expected: &str) {
    for verb in [&["--debug"][..], &[], &["--check"], &["--run", "1"]] {
        let output = shared.run(verb);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(77), "{verb:?}: {errors}");
        for expected in [expected, "hint:", "wininetd"] {
            assert!(errors.contains(expected), "{verb:?}: {expected}: {errors}");
        }
    }
}

/// Writes what `setcap` writes: revision 2 of the attribute, with the effective bit.
fn give_capabilities(file: &Path) -> bool {
    const REVISION_2: u32 = 0x0200_0000;
    const EFFECTIVE: u32 = 1;
    let words = [REVISION_2 | EFFECTIVE, CAPABILITIES, 0, 0, 0];
    let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let path = std::ffi::CString::new(file.as_os_str().as_bytes()).unwrap();
    // SAFETY: both strings end in NUL, and the length is the value's own.
    unsafe {
        libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), value.as_ptr().cast(), value.len(), 0)
            == 0
    }
}

#[test]
fn binary_with_file_capabilities_refuses_to_serve() {
    let given = format!("CapPrm {CAPABILITIES:x}");
    let Some(shared) = Shared::new(give_capabilities, |found| found.contains(&given)) else { return };
    all_refuse(&shared, &format!("mask {CAPABILITIES:#x}"));
}

#[test]
fn setuid_binary_refuses_to_serve() {
    let give = |file: &Path| std::fs::set_permissions(file, PermissionsExt::from_mode(0o4755)).is_ok();
    let Some(shared) = Shared::new(give, |found| found.lines().any(|line| line == "uid 65534 0")) else {
        return;
    };
    all_refuse(&shared, "effective user id 0");
}

#[test]
fn setgid_binary_refuses_to_serve() {
    let give = |file: &Path| std::fs::set_permissions(file, PermissionsExt::from_mode(0o2755)).is_ok();
    let Some(shared) = Shared::new(give, |found| found.lines().any(|line| line == "gid 65534 0")) else {
        return;
    };
    all_refuse(&shared, "effective group id 0");
}

/// A service manager grants ambient capabilities on purpose.
#[test]
fn ambient_capabilities_do_not_prevent_serving() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let shared = folder.path().join("wininetd");
    testkit::copy_program(&wininetd(), &shared);
    let port = free_port();
    let builder = Builder::new(&[format!("{port} none /bin/echo served")]);
    let starter = [
        "setpriv",
        "--reuid=daemon",
        "--regid=daemon",
        "--clear-groups",
        "--inh-caps=+net_bind_service",
        "--ambient-caps=+net_bind_service",
    ];
    let _daemon = builder.of_binary(&shared).through(&starter).start();
    assert_eq!(Client::connect(port).read_text(), "served\n");
}

/// File capabilities give every user the server's rights.
#[test]
fn no_text_recommends_to_give_the_file_capabilities() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders =
        vec![root.join("src"), root.join("docs"), root.join("packaging"), root.join("examples")];
    let mut files = vec![root.join("README.md")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).replace("setcap -r", "");
        let line = text.lines().find(|line| line.contains("setcap"));
        assert_eq!(line, None, "{}", file.display());
    }
}
