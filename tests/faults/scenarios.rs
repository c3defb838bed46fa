//! The common paths through the server. Each scenario has a service `a` that the test uses and a
//! service `other`.

use std::net::TcpStream;
use std::time::Duration;

use testkit::faults::{Answer, ask};
use testkit::tls::{Authority, Client as TlsClient, Version};
use testkit::{Builder, Daemon, Gate, free_port, probe_path};

use super::attempt::Expected;

/// The time limit for clients that may have to wait without end.
const BRIEFLY: Duration = Duration::from_secs(2);

/// Longer than any step takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(if cfg!(windows) { 40 } else { 20 });

pub struct World {
    /// The ports of the service before and after a reload.
    pub ports: [u16; 2],
    pub other: u16,
    pub gate: Gate,
    pub authority: Authority,
    /// A folder with a probe that any account may execute.
    pub shared: tempfile::TempDir,
    pub expected: Expected,
}

pub struct Scenario {
    pub name: &'static str,
    pub services: fn(&World) -> String,
    /// Uses the service. Returns whether the answer was complete. A wrong answer fails the test at
    /// once; a truncated one does not.
    pub asks: fn(&World) -> bool,
    pub besides: fn(&World, &Daemon),
    /// Whether the program runs as another user.
    pub identity: bool,
}

pub fn all() -> Vec<Scenario> {
    let nothing: fn(&World, &Daemon) = |_, _| {};
    let mut all = vec![
        Scenario {
            name: "socket",
            services: |world| {
                service(world, "'line'", "stdio = 'socket'\nstderr = 'client'\nbanner = 'hello '")
            },
            // The server leaves out a banner that it could not send.
            asks: |world| {
                let answer = world.asked(world.ports[0], b"line\n");
                answer.is_some_and(|answer| answer != b"line\n" && is_right(&answer, b"hello line\n"))
            },
            besides: nothing,
            identity: false,
        },
        Scenario {
            name: "pipes",
            services: |world| service(world, "'early', 'out ', 'a word', 'echo'", "stdio = 'pipe'"),
            asks: |world| {
                let bytes = testkit::pattern(100_000);
                world.is_answered(world.ports[0], &bytes, &[b"out ", &*bytes].concat())
            },
            besides: nothing,
            identity: false,
        },
        Scenario {
            name: "reload",
            services: |world| service(world, "'echo'", "stdio = 'socket'"),
            asks: |world| {
                // The port depends on whether the reload succeeded.
                let [before, after] = world.ports.map(|port| world.is_answered(port, b"here", b"here"));
                before || after
            },
            besides: |world, daemon| {
                let text = file(world, &service(world, "'echo'", "stdio = 'pipe'"));
                let [before, after] = world.ports.map(|port| format!(":{port}'"));
                daemon.rewrite(&text.replace(&before, &after).replace("@FOLDER", &folder(daemon)));
                for _ in 0..2 {
                    drop(daemon.try_ask(br#"{"version":1,"request":"reload"}"#, PATIENCE));
                }
            },
            identity: false,
        },
        Scenario {
            name: "deaf",
            services: |world| {
                let deaf = format!("'deaf', '{}'", world.gate.address());
                let more = format!(
                    "[service.deaf]\nlisten = '127.0.0.1:{}'\ncommand = ['@', {deaf}]\nkill_grace = '300ms'\nstdio = 'socket'\n",
                    world.ports[1]
                );
                service(world, "'line'", "stdio = 'pipe'") + &more
            },
            asks: |world| world.is_answered(world.ports[0], b"line\n", b"line\n"),
            besides: |world, daemon| {
                if let Ok(client) = TcpStream::connect(("127.0.0.1", world.ports[1])) {
                    daemon.wait_a_moment();
                    // The client stays connected until the stop.
                    std::mem::forget(client);
                }
            },
            identity: false,
        },
        Scenario {
            name: "tls",
            services: |world| {
                let more =
                    "proxy_protocol = ['127.0.0.1']\ntls = { certificate = 'cert.pem', key = 'key.pem' }";
                service(world, "'echo'", more)
            },
            asks: |world| {
                let client = TlsClient::new(&world.authority, Version::V13);
                let header = testkit::proxy::v1("192.0.2.1:7", "192.0.2.2:8");
                let Ok(mut stream) = client.connect_behind(&header, world.ports[0]) else { return false };
                is_right(&stream.ask(b"in secret"), b"in secret")
            },
            besides: nothing,
            identity: false,
        },
        Scenario {
            name: "proxy",
            services: |world| service(world, "'echo'", "stdio = 'socket'\nproxy_protocol = ['127.0.0.1']"),
            asks: |world| {
                let header = testkit::proxy::v2("192.0.2.1:7", "192.0.2.2:8");
                world.is_answered(world.ports[0], &[&*header, b"behind"].concat(), b"behind")
            },
            besides: nothing,
            identity: false,
        },
        Scenario {
            name: "warm",
            services: |world| service(world, "'echo'", "warm = 2"),
            asks: |world| world.is_answered(world.ports[0], b"warm", b"warm"),
            besides: nothing,
            identity: false,
        },
    ];
    if testkit::faults::takes_identities() {
        all.push(Scenario {
            name: "identity",
            services: |world| {
                let act = if cfg!(windows) { "'say', 'as told'" } else { "'state'" };
                let what = format!("'visit', '{}', {act}", world.gate.address());
                let program = world.shared.path().join("probe.exe").display().to_string();
                let user =
                    if cfg!(windows) { "user = 'someone'\npassword = 'secret'" } else { "user = 'nobody'" };
                service(world, &what, &format!("stdio = 'pipe'\n{user}")).replacen('@', &program, 1)
            },
            asks: |world| {
                let Some(text) = world.asked(world.ports[0], b"") else { return false };
                if cfg!(windows) {
                    return is_right(&text, b"as told");
                }
                // Under a fault the answer may be empty or truncated, but never that of another
                // account.
                let text = String::from_utf8(text).expect("text");
                let own = "uid 65534 65534\ngid 65534 65534\ngroups [65534]\n";
                assert!(text.starts_with(own) || own.starts_with(&text), "as another: {text}");
                text.ends_with('\n')
            },
            besides: nothing,
            identity: true,
        });
    }
    all
}

impl World {
    pub fn new(expected: Expected) -> World {
        let shared = tempfile::tempdir().unwrap();
        testkit::copy_program(&probe_path(), &shared.path().join("probe.exe"));
        #[cfg(unix)]
        for path in [shared.path().to_owned(), shared.path().join("probe.exe")] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        World {
            ports: [free_port(), free_port()],
            other: free_port(),
            gate: Gate::new(),
            authority: Authority::new(),
            shared,
            expected,
        }
    }

    pub fn builder(&self, scenario: &Scenario) -> Builder {
        let text = file(self, &(scenario.services)(self));
        let builder = Builder::native("");
        self.authority.write(builder.folder()).server("localhost").write(builder.folder());
        let folder = builder.folder().display().to_string();
        builder.with_native(&text.replace("@FOLDER", &folder))
    }

    /// The answer up to the end of the connection. `None` if no server listens.
    fn asked(&self, port: u16, bytes: &[u8]) -> Option<Vec<u8>> {
        let waits = self.expected.waits;
        match ask(port, bytes, if waits { BRIEFLY } else { PATIENCE }) {
            Answer::Refused => None,
            Answer::Gone(answer) => Some(answer),
            Answer::Hangs(answer) => {
                assert!(waits, "a client waits for ever, after {}", answer.escape_ascii());
                None
            }
        }
    }

    /// Any bytes other than a beginning of the answer fail the test.
    fn is_answered(&self, port: u16, bytes: &[u8], wanted: &[u8]) -> bool {
        self.asked(port, bytes).is_some_and(|answer| is_right(&answer, wanted))
    }

    pub fn other_answers(&self) -> bool {
        self.is_answered(self.other, b"", b"other")
    }
}

fn folder(daemon: &Daemon) -> String {
    daemon.file("").display().to_string()
}

fn file(world: &World, services: &str) -> String {
    format!(
        "[server]\nstop_grace = '300ms'\nlog_file = '@FOLDER/log'\n\
         [defaults]\nenvironment = {{ WININETD_RUN = '{}' }}\n\
         [service.other]\nlisten = '127.0.0.1:{}'\ncommand = ['@', 'say', 'other']\nstdio = 'socket'\nstderr = 'client'\n\
         {services}",
        world.mark(),
        world.other
    )
}

impl World {
    /// A value that the environment of all programs contains.
    pub fn mark(&self) -> String {
        self.gate.address().replace(':', "-")
    }
}

fn service(world: &World, command: &str, more: &str) -> String {
    format!("[service.a]\nlisten = '127.0.0.1:{}'\ncommand = ['@', {command}]\n{more}\n", world.ports[0])
}

fn is_right(answer: &[u8], wanted: &[u8]) -> bool {
    assert!(wanted.starts_with(answer), "a wrong answer: {}", answer.escape_ascii());
    answer == wanted
}
