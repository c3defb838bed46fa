//! The program under test: what wininetd starts in the tests. `probe WHAT …`
//! does one thing that a program may do, and tells what it finds.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::exit,
    clippy::panic
)]

#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;

mod streams;

use std::io::{Read, Write, stdin, stdout};
use std::net::TcpStream;
use std::process::{Command, exit};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    act(&arguments);
}

fn act(arguments: &[&str]) {
    match *arguments {
        // Something, and then another thing: tells the gate that it is there,
        ["visit", address, ..] => {
            let gate = introduce(address);
            act(&arguments[2..]);
            drop(gate);
        }
        // reads a line, byte by byte,
        ["waits", ..] => {
            let mut byte = [0];
            while stdin().read(&mut byte).unwrap() == 1 && byte != *b"\n" {}
            act(&arguments[1..]);
        }
        // writes to both of its outputs,
        ["early", out, error, ..] => {
            say(out);
            eprintln(error);
            act(&arguments[3..]);
        }
        // does without its input.
        ["without-input", ..] => {
            system::close_input();
            act(&arguments[1..]);
        }
        // Wants its last close to wait for its client for so many seconds.
        #[cfg(unix)]
        ["so-linger", seconds, ..] => {
            system::set_so_linger(std::time::Duration::from_secs(seconds.parse().unwrap()));
            act(&arguments[2..]);
        }
        // Writes as much as its client and the system take at once.
        #[cfg(unix)]
        ["fill"] => system::fill_output(),
        // Keeps its connection locked, comes to the gate, and ends when that opens.
        #[cfg(target_os = "linux")]
        ["locked", address] => {
            system::lock_connection();
            gate(address);
            exit(0);
        }
        // Starts a process that does so in a session of its own, and comes to the gate as well.
        #[cfg(target_os = "linux")]
        ["leave-locked", address] => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            system::start_adrift_with_streams(command.args(["locked", address]).env_remove("CLIENT_PORT"));
            gate(address);
        }
        // Is traced by a process in a session of its own, which comes to the gate, and ends.
        #[cfg(target_os = "linux")]
        ["traced", address] => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let own_pid = std::process::id().to_string();
            system::be_traced_by(command.args(["traces", &own_pid, address]).env_remove("CLIENT_PORT"));
        }
        #[cfg(target_os = "linux")]
        ["traces", pid, address] => {
            system::trace(pid.parse().unwrap());
            let mut gate = introduce(address);
            say("traces");
            let _ = gate.read(&mut [0]);
            exit(0);
        }
        // Tells whether its client passes a descriptor with its first byte.
        #[cfg(target_os = "linux")]
        ["takes-descriptor"] => say(if system::takes_descriptor() { "taken" } else { "none" }),
        // Starts so many sleeping processes, each in a session of its own, and does another thing.
        #[cfg(target_os = "linux")]
        ["sleepers", count, ..] => {
            system::start_sleepers(count.parse().unwrap());
            act(&arguments[2..]);
        }
        // Lives for so many milliseconds.
        ["lives", time] => std::thread::sleep(std::time::Duration::from_millis(time.parse().unwrap())),
        // Writes a text, and then does another thing.
        ["says", text, ..] => {
            say(text);
            act(&arguments[2..]);
        }
        // Closes its three streams, and then does another thing.
        ["closes-streams", ..] => {
            system::close_streams();
            act(&arguments[1..]);
        }
        // Leaves a process behind that does another thing.
        ["leaves", how, ..] => leave(how, &arguments[2..]),
        // Comes to the gate and answers each byte from there: a `w` by `y` if it
        // can write that to its standard output, otherwise by `n`. Others come back.
        ["answers", address] => answers(address),
        // Copies its input until its end.
        ["echo"] => echo(),
        // Answers one line.
        ["line"] => {
            let mut line = String::new();
            stdin().read_line(&mut line).unwrap();
            say(&line);
        }
        // Counts its input and answers at its end.
        ["count"] => {
            let count = std::io::copy(&mut stdin().lock(), &mut std::io::sink()).unwrap();
            say(&format!("{count}\n"));
        }
        // Writes and ends without reading.
        ["say", text] => say(text),
        ["flood", bytes] => flood(bytes.parse().unwrap()),
        // Writes more than anybody reads, and ends in the middle of it when the gate opens.
        ["flood-until", address] => {
            std::thread::spawn(|| flood(usize::MAX));
            gate(address);
            exit(0);
        }
        ["complain", text] => std::io::stderr().write_all(text.as_bytes()).unwrap(),
        ["exit", code] => exit(code.parse().unwrap()),
        ["crash"] => system::crash(),
        // Answers one line, and crashes if it says so.
        ["crash-on-input"] => {
            let mut line = String::new();
            stdin().read_line(&mut line).unwrap_or_default();
            if line == "crash\n" {
                system::crash();
            }
            say(&line);
        }
        // Tells what it finds.
        ["arguments", ..] => say(&arguments.join("\n")),
        ["name"] => say(&std::env::args_os().next().unwrap().to_string_lossy()),
        ["environment"] => environment(),
        ["directory"] => say(&std::env::current_dir().unwrap().display().to_string()),
        ["handles"] => say(&system::handles()),
        ["state"] => say(&system::state()),
        ["capabilities"] => say(&system::capabilities()),
        // Keeps a key of this name in its session keyring, and tells what it finds by another.
        ["key", kept, sought] => say(&system::keys(kept, sought)),
        // Whether TCP_NODELAY is set on its standard input.
        ["nodelay"] => say(&system::nodelay().to_string()),
        // Writes although its input is closed.
        ["close-input", text] => {
            system::close_input();
            say(text);
        }
        // Says at the gate that it is there, and ends when the gate opens.
        ["gate", address] => gate(address),
        // The same, with a process of its own behind it.
        ["tree", address] => {
            start_another(address);
            gate(address);
        }
        // Leaves a process behind.
        ["leave", address] => {
            start_another(address);
        }
        // The same, and neither ends when it is asked to.
        ["deaf", address] => {
            system::ignore_polite_end();
            start_another(address);
            gate(address);
        }
        // Starts processes that come to the gate, tells of each whether it
        // could, and comes there itself.
        ["fork", count, address] => {
            for number in 1..=count.parse::<u32>().unwrap() {
                let how = if try_another(address).is_ok() { "started" } else { "failed" };
                say(&format!("{number} {how}\n"));
            }
            gate(address);
        }
        // Takes what there is a limit of, and tells how far it came.
        ["allocate", bytes] => allocate(bytes.parse().unwrap()),
        ["open", count] => open(count.parse().unwrap()),
        // Burns processor time until it is ended.
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        // Leaves a process behind that is in a session of its own.
        ["adrift", address] => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            system::start_adrift(command.args(["gate", address]).env_remove("CLIENT_PORT"));
        }
        // The same, and it tells the gate what it reads from the input of both.
        ["adrift-reader", address] => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            system::start_adrift_with_streams(command.args(["tell-gate", address]));
        }
        ["tell-gate", address] => {
            let mut gate = introduce(address);
            // The end of a terminal is an error.
            let _ = std::io::copy(&mut stdin(), &mut gate);
        }
        // Puts these keys into the input of its terminal.
        #[cfg(unix)]
        ["insert", keys] => system::insert(keys),
        // What may be done with its streams.
        ["streams", ref what @ ..] => streams::run(what),
        _ => {
            eprintln(&format!("probe: what is {arguments:?}?"));
            exit(64);
        }
    }
}

/// A process that comes to the gate as well, without its client's port.
fn start_another(address: &str) {
    try_another(address).unwrap();
}

fn try_another(address: &str) -> std::io::Result<()> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    system::start_beside(command.args(["gate", address]).env_remove("CLIENT_PORT"))
}

/// Starts a process that outlives this one.
fn leave(how: &str, arguments: &[&str]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).env_remove("CLIENT_PORT");
    match how {
        "beside" => system::start_beside(&mut command).unwrap(),
        "with-streams" => drop(command.spawn().unwrap()),
        "adrift" => system::start_adrift(&mut command),
        "adrift-with-streams" => system::start_adrift_with_streams(&mut command),
        _ => panic!("how is {how}?"),
    }
}

fn answers(address: &str) {
    let mut gate = introduce(address);
    let mut byte = [0];
    while gate.read(&mut byte).unwrap_or(0) == 1 {
        let mut out = stdout().lock();
        let answer = match byte[0] {
            b'w' if out.write_all(b"w").and_then(|()| out.flush()).is_ok() => b'y',
            b'w' => b'n',
            other => other,
        };
        gate.write_all(&[answer]).unwrap();
    }
}

fn allocate(bytes: usize) {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        return say("refused\n");
    }
    // Memory that is not touched is not taken.
    memory.resize(bytes, 1);
    say(&format!("allocated {}\n", memory.len()));
}

fn open(count: usize) {
    let own = std::env::current_exe().unwrap();
    let files: Vec<_> = (0..count).map_while(|_| std::fs::File::open(&own).ok()).collect();
    say(&format!("opened {}\n", files.len()));
}

fn say(text: &str) {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).unwrap();
    out.flush().unwrap();
}

fn eprintln(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn echo() {
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let mut buffer = [0; 65536];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                output.write_all(&buffer[..length]).unwrap();
                output.flush().unwrap();
            }
            // The client has reset the connection.
            Err(_) => exit(1),
        }
    }
}

fn flood(bytes: usize) {
    let block: Vec<u8> = (0..=255).cycle().take(65536).collect();
    let mut out = stdout().lock();
    let mut rest = bytes;
    while rest > 0 {
        let length = rest.min(block.len());
        out.write_all(&block[..length]).unwrap();
        rest -= length;
    }
    out.flush().unwrap();
}

fn environment() {
    let mut variables: Vec<String> = std::env::vars_os()
        .map(|(name, value)| format!("{}={}\n", name.display(), value.display()))
        .collect();
    variables.sort();
    say(&variables.concat());
}

fn gate(address: &str) {
    let _ = introduce(address).read(&mut [0]);
}

/// Comes to the gate.
fn introduce(address: &str) -> TcpStream {
    let mut gate = TcpStream::connect(address).unwrap();
    let variable = |name| std::env::var(name).unwrap_or_default();
    writeln!(gate, "{} {} {}", std::process::id(), variable("WININETD_SESSION"), variable("CLIENT_PORT"))
        .unwrap();
    gate
}
