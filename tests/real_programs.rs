//! Real programs work as services of a classic or native file. The tests need Debian's packages
//! (git, rsync, a C compiler). Run them by name: `cargo test --test real_programs -- --ignored`. On
//! Windows, run `scripts/windows-lab.sh real`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;
    use std::process::{Command, Output};

    use testkit::{Builder, Client, free_port};

    fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("HOME", folder)
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
        output
    }

    #[test]
    #[ignore = "needs git"]
    fn git_clones_and_pushes() {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let path = folder.path();
        let git = |arguments: &[&str]| run(path, "git", arguments);
        git(&["init", "--bare", "--initial-branch=main", "served.git"]);
        git(&["config", "--file", "served.git/config", "daemon.receivepack", "true"]);
        let base = path.display();
        let line = format!(
            "{port} none git daemon --inetd --export-all --base-path={base} --enable=receive-pack {base}"
        );
        let _daemon = Builder::new(&[line]).start();
        let url = format!("git://127.0.0.1:{port}/served.git");
        git(&["clone", &url, "first"]);
        let large: Vec<u8> =
            (0..3_000_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(path.join("first/large"), &large).unwrap();
        let author = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        git(&["-C", "first", "add", "large"]);
        git(&[&["-C", "first"][..], &author, &["commit", "-m", "large"]].concat());
        git(&["-C", "first", "push", "origin", "HEAD:main"]);
        git(&["clone", &url, "second"]);
        assert!(std::fs::read(path.join("second/large")).unwrap() == large);
    }

    #[test]
    #[ignore = "needs systemd-socket-activate"]
    fn systemd_hands_two_sockets_over_and_both_are_used() {
        let (first, second) = (free_port(), free_port());
        let lines = [format!("{first} none echo first"), format!("{second} none echo second")];
        let (one, two) = (format!("127.0.0.1:{first}"), format!("127.0.0.1:{second}"));
        let starter = ["systemd-socket-activate", "-l", &one, "-l", &two];
        let daemon = Builder::new(&lines).without_verb().through(&starter).launch();
        daemon.text_line(&two);
        // The first client starts the server and waits in the backlog meanwhile.
        assert_eq!(Client::connect(first).read_text(), "first\n");
        assert_eq!(Client::connect(second).read_text(), "second\n");
        assert_eq!(daemon.event("ready", |_| true)["listen"], serde_json::json!([one, two]));
        assert_eq!(daemon.stop().code, Some(0));
    }

    #[test]
    #[ignore = "needs rsync"]
    fn rsync_serves_and_takes_files() {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let path = folder.path();
        std::fs::create_dir(path.join("module")).unwrap();
        let config = format!(
            "[module]\npath = {}\nread only = false\nuse chroot = false\nuid = 0\ngid = 0\n",
            path.join("module").display()
        );
        std::fs::write(path.join("rsyncd.conf"), config).unwrap();
        let line = format!("{port} none rsync --daemon --config={}", path.join("rsyncd.conf").display());
        let _daemon = Builder::new(&[line]).start();
        let large: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(path.join("up"), &large).unwrap();
        let url = format!("rsync://127.0.0.1:{port}/module/");
        run(path, "rsync", &["up", &url]);
        run(path, "rsync", &[&format!("{url}up"), "down"]);
        assert!(std::fs::read(path.join("down")).unwrap() == large);
    }

    /// The configuration is that of `docs/native-file.md`.
    #[test]
    #[ignore = "needs rsync"]
    fn rsync_as_a_server_answers_through_pipes_and_knows_its_client() {
        for (allowed, answers) in [("127.0.0.1", true), ("192.0.2.1", false)] {
            let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
            let path = folder.path();
            std::fs::create_dir(path.join("module")).unwrap();
            std::fs::write(path.join("module/file"), "hello").unwrap();
            let config = format!(
                "[module]\npath = {}\nuse chroot = false\nuid = 0\ngid = 0\nhosts allow = {allowed}\n",
                path.join("module").display()
            );
            std::fs::write(path.join("rsyncd.conf"), config).unwrap();
            let file = path.join("rsyncd.conf");
            let _daemon = Builder::native(&format!(
                "[service.rsync]\nlisten = '127.0.0.1:{port}'\nstdio = 'pipe'\n\
                 command = ['rsync', '--server', '--daemon', '--config={}', '.']\n",
                file.display()
            ))
            .start();
            let from = format!("rsync://127.0.0.1:{port}/module/file");
            let output = Command::new("rsync").args([&from, "copy"]).current_dir(path).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), answers, "{errors}");
            assert_eq!(path.join("copy").exists(), answers);
            assert_eq!(errors.contains("access denied"), !answers, "{errors}");
        }
    }

    #[test]
    #[ignore = "needs a C compiler"]
    fn a_c_program_reads_and_writes() {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testkit/c/lines.c");
        let program = folder.path().join("lines");
        run(folder.path(), "cc", &["-O2", "-o", program.to_str().unwrap(), source.to_str().unwrap()]);
        let _daemon = Builder::new(&[format!("{port} none {}", program.display())]).start();
        let mut client = Client::connect(port);
        client.send(b"one\ntwo\n").half_close();
        assert_eq!(client.read_text(), "1: one\n2: two\n");
    }
}

#[cfg(windows)]
mod windows {
    use testkit::{Builder, Client, free_port};

    fn answer(command: &str, input: &[u8]) -> String {
        let port = free_port();
        let _daemon = Builder::new(&[format!("{port} none {command}")]).start();
        let mut client = Client::connect(port);
        client.send(input).half_close();
        client.read_text()
    }

    #[test]
    #[ignore = "needs the lab"]
    fn cmd_runs_a_command() {
        assert_eq!(answer(r"c:\windows\system32\cmd.exe /c echo hello", b"").trim_end(), "hello");
    }

    #[test]
    #[ignore = "needs the lab"]
    fn a_batch_file_runs_through_cmd_with_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("a b.cmd");
        std::fs::write(&script, "@echo got %1\r\n").unwrap();
        assert_eq!(answer(&format!("{} word", testkit::quoted(&script)), b"").trim_end(), "got word");
    }

    #[test]
    #[ignore = "needs the lab"]
    fn a_c_program_reads_and_writes() {
        let program = std::env::var("WININETD_LAB_C_PROGRAM").expect("the lab names it");
        let answer = answer(&format!("\"{program}\""), b"one\ntwo\n");
        assert_eq!(answer.replace('\r', ""), "1: one\n2: two\n");
    }
}
