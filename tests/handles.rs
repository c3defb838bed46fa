//! A program gets its three standard streams and no other handle of the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, Gate, free_port, probe};

#[test]
fn child_holds_exactly_three_handles() {
    let (port, held_port, gate) = (free_port(), free_port(), Gate::new());
    let _daemon = Builder::new(&[
        format!("{port} none {}", probe("handles")),
        format!("{held_port} none {}", probe(&format!("gate {}", gate.address()))),
    ])
    .start();
    let held: Vec<_> = (0..4).map(|_| Client::connect(held_port)).collect();
    let visitors: Vec<_> = held.iter().map(|_| gate.visitor()).collect();
    let clients: Vec<_> = (0..20).map(|_| Client::connect(port)).collect();
    for mut client in clients {
        assert_eq!(client.read_text(), "0 1 2");
    }
    drop(visitors);
}

fn piped(what: &str) -> (u16, testkit::Daemon) {
    let port = free_port();
    let daemon = Builder::native(&format!(
        "[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', {what}]\nstdio = 'pipe'\n"
    ))
    .start();
    (port, daemon)
}

#[test]
fn piped_program_holds_three_handles_and_no_socket() {
    let (port, _daemon) = piped("'handles'");
    let clients: Vec<_> = (0..20).map(|_| Client::connect(port)).collect();
    for mut client in clients {
        assert_eq!(client.read_text(), if cfg!(windows) { "" } else { "0 1 2" });
    }
}

#[test]
fn each_pipe_of_a_program_has_one_direction() {
    let (port, _daemon) = piped("'streams', 'directions'");
    assert_eq!(Client::connect(port).read_text(), "reads writes writes");
}

#[cfg(unix)]
mod unix {
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn programs_get_no_descriptor_the_server_inherited() {
        let port = free_port();
        let file = tempfile::tempfile().unwrap();
        let descriptor = file.as_raw_fd();
        let builder = Builder::new(&[format!("{port} none {}", probe("handles"))]);
        let _daemon = builder
            .command(|command| {
                // SAFETY: dup2 is async-signal-safe.
                unsafe {
                    command.pre_exec(move || {
                        for inherited in [50, 70, 99] {
                            libc::dup2(descriptor, inherited);
                        }
                        Ok(())
                    })
                };
            })
            .start();
        assert_eq!(Client::connect(port).read_text(), "0 1 2");
    }

    #[test]
    fn program_gets_default_signals_safe_umask_blocking_socket() {
        let port = free_port();
        let builder = Builder::new(&[format!("{port} none {}", probe("state"))]);
        let _daemon = builder
            .command(|command| {
                // SAFETY: the calls are async-signal-safe and their values are valid.
                unsafe {
                    command.pre_exec(|| {
                        let mut set: libc::sigset_t = std::mem::zeroed();
                        libc::sigaddset(&raw mut set, libc::SIGUSR1);
                        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
                        libc::signal(libc::SIGUSR2, libc::SIG_IGN);
                        libc::umask(0);
                        let limit = libc::rlimit { rlim_cur: 345, rlim_max: 1000 };
                        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
                        Ok(())
                    })
                };
            })
            .start();
        let state = Client::connect(port).read_text();
        let expected = [
            "umask 022",
            "waits true",
            "leader true",
            "blocked []",
            "changed []",
            "descriptors 345",
            "keepalive 60 10 6",
        ];
        for expected in expected {
            assert!(state.lines().any(|line| line == expected), "{expected}:\n{state}");
        }
    }

    #[test]
    fn inherited_signal_settings_do_not_break_reaping_or_stop() {
        let port = free_port();
        let builder = Builder::new(&[format!("{port} none {}", probe("exit 7"))]);
        let daemon = builder
            .command(|command| {
                // SAFETY: the calls are async-signal-safe and their values are valid.
                unsafe {
                    command.pre_exec(|| {
                        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                        let mut set: libc::sigset_t = std::mem::zeroed();
                        libc::sigaddset(&raw mut set, libc::SIGTERM);
                        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
                        Ok(())
                    })
                };
            })
            .start();
        let mut client = Client::connect(port);
        assert_eq!(client.read_all(), b"");
        let client_port = client.port();
        drop(client);
        assert_eq!(daemon.record(client_port)["exit"], 7);
        assert_eq!(daemon.stop().code, Some(0));
    }
}

/// A console process that has loaded user32 or gdi32 gets no event at a shutdown
/// (SetConsoleCtrlHandler, remarks). shell32 loads both.
#[cfg(windows)]
#[test]
fn no_library_for_windows_on_a_screen_is_linked() {
    let program = std::fs::read(testkit::wininetd()).unwrap().to_ascii_lowercase();
    let has = |name: &[u8]| program.windows(name.len()).any(|part| part == name);
    assert!(has(b"ws2_32.dll"));
    assert!(!has(b"user32.dll") && !has(b"shell32.dll"));
}
