//! What a program may do with its streams, as the pump meets it.

use std::io::{ErrorKind, Read, Write, stderr, stdin, stdout};
use std::process::{Command, exit};

use crate::{gate, say, system};

/// `probe streams WHAT …`
pub fn run(what: &[&str]) {
    match *what {
        ["directions"] => say(&system::directions()),
        // Writes so many bytes from a thread of its own while it reads its input
        // to the end, and then says what that was.
        ["duplex", bytes] => {
            let bytes = bytes.parse().unwrap();
            let writer = std::thread::spawn(move || write_pattern(bytes));
            let read = read_to_end();
            writer.join().unwrap();
            say(&read);
        }
        // Says what its input was, on its standard error, after it has closed its
        // output.
        ["close-output"] => {
            system::close_output();
            complain(read_to_end().as_bytes());
        }
        // Reads only after the gate has opened.
        ["late", address] => {
            gate(address);
            say(&read_to_end());
        }
        // Writes a word, and after the gate so many bytes although its input has ended.
        ["write-on", bytes, address] => {
            say(&read_to_end());
            gate(address);
            write_pattern(bytes.parse().unwrap());
        }
        // Writes for ever, and says at the gate when it cannot any more.
        ["until-broken", address] => {
            let block = [b'x'; 65536];
            while stdout().write_all(&block).and_then(|()| stdout().flush()).is_ok() {}
            gate(address);
        }
        // The same without a word: it ends by what its system does to such.
        ["until-killed"] => {
            system::close_input();
            system::default_broken_pipe();
            loop {
                if stdout().write_all(&[b'x'; 65536]).is_err() {
                    system::crash();
                }
            }
        }
        // Writes for ever, a byte at a time.
        ["trickle"] => loop {
            if stdout().write_all(b"x").and_then(|()| stdout().flush()).is_err() {
                exit(0);
            }
        },
        // Writes a byte every so many milliseconds, so often, and then nothing.
        ["tick", times, milliseconds] => {
            let pause = std::time::Duration::from_millis(milliseconds.parse().unwrap());
            for _ in 0..times.parse::<u32>().unwrap() {
                say("x");
                std::thread::sleep(pause);
            }
            read_to_end();
        }
        // Copies its input in both roles at once for ever.
        ["sink"] => drop(std::io::copy(&mut stdin().lock(), &mut std::io::sink())),
        // Answers each line in two writes. Between them it waits at the gate.
        ["two-parts", address] => {
            while read_line() {
                say("1");
                gate(address);
                say("2");
            }
        }
        // Closes its input, comes to the gate, and says a word.
        ["close-input", text, address] => {
            system::close_input();
            gate(address);
            say(text);
        }
        // Says a word at the end of its input, as somebody does who is asked to end.
        ["last-word", text] => {
            read_to_end();
            say(text);
        }
        // Reads its input and does not care for its end.
        ["deaf", address] => {
            system::ignore_polite_end();
            gate(address);
        }
        // Writes so many bytes, and leaves a process behind that has its streams.
        ["adrift", bytes, address] => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            system::start_adrift_with_streams(command.args(["gate", address]).env_remove("CLIENT_PORT"));
            write_pattern(bytes.parse().unwrap());
        }
        // Leaves one behind that writes errors for ever.
        ["adrift-complaining"] => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            system::start_adrift_with_streams(command.args(["streams", "complain-for-ever"]));
            say("done");
        }
        // Bytes to its standard error, written as hexadecimal digits.
        ["complain-hex", digits] => {
            let bytes: Vec<u8> = (0..digits.len() / 2)
                .map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap())
                .collect();
            complain(&bytes);
        }
        // Its session's number on its standard error, then a word.
        ["complain-and-say", complaint, text] => {
            complain(complaint.as_bytes());
            say(text);
        }
        // So many lines of errors, then a word.
        ["complain-lines", count, length, text] => {
            let line = format!("{}\n", "e".repeat(length.parse().unwrap()));
            let mut errors = stderr().lock();
            for _ in 0..count.parse::<usize>().unwrap() {
                errors.write_all(line.as_bytes()).unwrap();
            }
            say(text);
        }
        // So many bytes of errors, by one call.
        ["complain-at-once", bytes] => {
            let lines = "much too much\n".bytes().cycle();
            complain(&lines.take(bytes.parse().unwrap()).collect::<Vec<u8>>());
        }
        // A word first, then errors for ever.
        ["say-and-complain", text] => {
            say(text);
            complain_for_ever();
        }
        ["complain-for-ever"] => complain_for_ever(),
        _ => {
            complain(format!("probe: what is {what:?}?\n").as_bytes());
            exit(64);
        }
    }
}

/// Reads one line. False at the end of the input.
fn read_line() -> bool {
    stdin().read_line(&mut String::new()).unwrap() > 0
}

fn complain(bytes: &[u8]) {
    stderr().write_all(bytes).unwrap();
}

fn complain_for_ever() {
    let lines = "much too much\n".repeat(1000);
    while stderr().write_all(lines.as_bytes()).is_ok() {}
}

/// Bytes of which each place knows its own.
fn write_pattern(bytes: usize) {
    let mut out = stdout().lock();
    let mut at = 0;
    while at < bytes {
        let length = (bytes - at).min(65536);
        let block: Vec<u8> = (at..at + length).map(pattern).collect();
        if out.write_all(&block).is_err() {
            exit(3);
        }
        at += length;
    }
    out.flush().unwrap();
}

/// As `testkit::pattern`.
fn pattern(at: usize) -> u8 {
    (at % 251).to_le_bytes()[0] ^ (at / 251).to_le_bytes()[0]
}

/// How many bytes the input had, and whether each was the pattern's.
fn read_to_end() -> String {
    let (mut input, mut buffer, mut at, mut equal) = (stdin().lock(), vec![0; 65536], 0, true);
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                equal &=
                    buffer[..length].iter().enumerate().all(|(place, &byte)| byte == pattern(at + place));
                at += length;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return format!("{at} {error}\n"),
        }
    }
    format!("{at} {}\n", if equal { "equal" } else { "different" })
}
