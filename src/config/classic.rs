//! The classic file. Each line `PORT  USER:PASS  CMDLINE` is a service.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::defaults::{Defaults, STDIO_FAULT_HINT};
use super::diagnostic::{Diagnostic, Severity};
use super::loaded::{Loaded, Spans};
use super::source::Source;
use crate::model::account::Credentials;
use crate::model::command_line::CommandLine;
use crate::model::plan::{Admit, MAX_CONNECTIONS, Service};
use crate::model::secret::STORED;
use crate::sys;
use crate::sys::command::Command;

pub fn read(mut source: Source, defaults: &Defaults) -> Loaded {
    hide_passwords(&mut source);
    let mut reader =
        ClassicReader { source: &source, defaults, ports: HashMap::new(), diagnostics: Vec::new() };
    if let Some(at) = source.text.iter().position(|&byte| byte == 0) {
        let hint = "if this file is UTF-16, save it with a byte-order mark".to_owned();
        reader.error(&(at..at + 1), "a NUL character, which is not allowed in a configuration", Some(hint));
    }
    if source.code_page {
        let message = "this file is not UTF-8 and was read in the system's code page";
        reader.diagnostics.push(Diagnostic::of_file(Severity::Note, &source, message));
    }
    if let Some(fault) = defaults.stdio_fault(&[]) {
        let fault = Diagnostic::of_file(Severity::Error, &source, fault);
        reader.diagnostics.push(fault.hint(STDIO_FAULT_HINT.to_owned()));
    }
    let services = source.lines().filter_map(|(start, line)| reader.line(start, line)).collect::<Vec<_>>();
    let mut diagnostics = reader.diagnostics;
    if services.is_empty() && diagnostics.iter().all(|found| found.severity != Severity::Error) {
        diagnostics.push(
            Diagnostic::of_file(
                Severity::Warning,
                &source,
                "this file has no service, so the server would serve nothing",
            )
            .hint(
                other_form(&source)
                    .unwrap_or_else(|| format!("a service is a line like:  {}", sys::paths::EXAMPLE_LINE)),
            ),
        );
    }
    Loaded::of_one(source, services, diagnostics)
}

fn other_form(source: &Source) -> Option<String> {
    let begins = |words: &[&str]| {
        source.lines().any(|(_, line)| {
            let line = String::from_utf8_lossy(line);
            words.iter().any(|word| line.trim_start().starts_with(word))
        })
    };
    if begins(&["[service", "[server]", "[defaults]"]) {
        Some("this looks like the native form, whose files are named .toml".to_owned())
    } else if begins(&["service ", "defaults"]) {
        Some("this looks like an xinetd.conf: --convert FILE writes its native form".to_owned())
    } else {
        None
    }
}

struct ClassicReader<'a> {
    source: &'a Source,
    defaults: &'a Defaults,
    /// The first span of each port, for errors about duplicates.
    ports: HashMap<u16, Range<usize>>,
    diagnostics: Vec<Diagnostic>,
}

const COMMENT_HINT: &str = "put # in front to make this a comment";
const ADDRESS_HINT: &str = "a line begins with a port alone: `--bind` chooses addresses, and a native file has them for each service";

impl ClassicReader<'_> {
    fn error(&mut self, range: &Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.diagnostics.push(Diagnostic::at(Severity::Error, self.source, range, message).hint(hint));
    }

    /// Reads one line at byte offset `start` and reports all its errors.
    fn line(&mut self, start: usize, line: &[u8]) -> Option<(Service, Spans)> {
        if !line.first().is_some_and(u8::is_ascii_digit) {
            self.warn_of_hidden_service(start, line);
            return None;
        }
        if line.contains(&0) {
            return None;
        }
        let [port_field, identity_field, command_field] = fields(line);
        let place = |field: &Range<usize>| start + field.start..start + field.end;
        let spans = Spans {
            listen: place(&port_field),
            identity: place(&identity_field),
            command: place(&command_field),
            ..Spans::default()
        };
        let port = self.port(&spans.listen, &line[port_field]);
        if identity_field.is_empty() {
            let message = "USER:PASS and CMDLINE are missing after the port";
            self.error(&spans.listen, message, Some(COMMENT_HINT.to_owned()));
            return None;
        }
        let identity = self.identity(&spans.identity, &line[identity_field]);
        if command_field.is_empty() {
            self.error(&spans.identity, "CMDLINE is missing after this", Some(COMMENT_HINT.to_owned()));
            return None;
        }
        let command = self.command(&spans.command, &line[command_field]);
        let (port, identity, command) = (port?, identity?, command?);
        let listen =
            self.defaults.bind.iter().map(|&address| SocketAddr::new(address, port).into()).collect();
        let service = self.defaults.service(port.to_string(), listen, command, identity);
        let admit = Admit { max_connections: max_connections(), ..Admit::default() };
        Some((Service { admit, ..service }, spans))
    }

    /// Warns of a line that is a comment only because of an indent or a byte-order mark. Joining
    /// two files leaves such a mark.
    fn warn_of_hidden_service(&mut self, start: usize, line: &[u8]) {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        let mark = if line.starts_with(MARK) { MARK.len() } else { 0 };
        let blanks = mark + line[mark..].iter().take_while(|&&byte| is_blank(byte)).count();
        if line.get(blanks).is_some_and(u8::is_ascii_digit) {
            let message = "this line is a comment, because it does not begin with a digit";
            self.diagnostics.push(
                Diagnostic::at(Severity::Warning, self.source, &(start..start + blanks + 1), message).hint(
                    "remove the characters before the digit to make it a service, or start the line with #"
                        .to_owned(),
                ),
            );
        }
    }

    fn port(&mut self, range: &Range<usize>, text: &[u8]) -> Option<u16> {
        let shown = String::from_utf8_lossy(text);
        if !text.iter().all(u8::is_ascii_digit) {
            // Quotes the digits only: the rest may hold a user and a password.
            let digits: String = shown.chars().take_while(char::is_ascii_digit).take(20).collect();
            let message = format!("the port {digits} is not followed by a space");
            let hint = match shown.chars().find(|letter| letter.is_whitespace()) {
                // Text copied from a web page holds such characters.
                Some(blank) => {
                    let code = u32::from(blank);
                    format!("the next character is U+{code:04X}, which only looks like a space: type a space")
                }
                None if shown[digits.len()..].starts_with(['.', ':']) => ADDRESS_HINT.to_owned(),
                None => format!("write a space after the port, or {COMMENT_HINT}"),
            };
            self.error(range, message, Some(hint));
            return None;
        }
        let Some(port) = shown.parse::<u16>().ok().filter(|&port| port != 0) else {
            let digits: String = shown.chars().take(20).collect();
            let message = format!("{digits} is not a port: ports are 1 to 65535");
            self.error(range, message, Some(format!("correct the number, or {COMMENT_HINT}")));
            return None;
        };
        if text.starts_with(b"0") {
            let message = format!("the port {shown} begins with a zero, which some programs read as octal");
            self.error(range, message, Some(format!("write {port}")));
            return None;
        }
        if let Some(first) = self.ports.get(&port) {
            let line = self.source.place(first.start).line;
            self.error(range, format!("port {port} has a service in line {line} already"), None);
            return None;
        }
        self.ports.insert(port, range.clone());
        Some(port)
    }

    fn identity(&mut self, range: &Range<usize>, text: &[u8]) -> Option<Option<Credentials>> {
        if text == b"none" {
            return Some(None);
        }
        if text.eq_ignore_ascii_case(b"none") {
            self.error(range, "write `none` in lower case", None);
            return None;
        }
        let text = String::from_utf8_lossy(text);
        let (user, password) = match text.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (&*text, None),
        };
        match sys::account::parse_credentials(user, password, &self.defaults.service) {
            Ok(credentials) => Some(Some(credentials)),
            Err(message) => {
                // Marks the user only: the rest may be part of a password.
                let user_range = range.start..range.start + user.len().max(1);
                let hint = password
                    .is_none()
                    .then(|| format!("`none` runs the program as the server itself; {COMMENT_HINT}"));
                self.error(&user_range, message, hint);
                None
            }
        }
    }

    fn command(&mut self, range: &Range<usize>, text: &[u8]) -> Option<CommandLine> {
        if text.starts_with(b":") {
            let hint = "a password follows its user without a blank: USER:PASS".to_owned();
            self.error(range, "CMDLINE begins with a colon", Some(hint));
            return None;
        }
        let line = CommandLine::line(sys::text::os_string(text));
        Command::new(&line)
            .map(|_| line)
            .map_err(|fault| {
                let at = (range.start + fault.position).min(range.end.saturating_sub(1));
                let meant = if fault.position == 0 { range.clone() } else { at..at + 1 };
                self.error(&meant, fault.message, fault.hint);
            })
            .ok()
    }
}

/// Masks all possible passwords, even in a line with errors.
pub fn hide_passwords(source: &mut Source) {
    let mut secrets = Vec::new();
    for (start, line) in source.lines() {
        let blanks = line.iter().take_while(|&&byte| !byte.is_ascii_graphic()).count();
        let line = &line[blanks..];
        if !line.first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let [port, identity, command] = fields(line);
        let first_word = command.clone().take_while(|&at| !is_blank(line[at])).count();
        let slipped = line[command.clone()].starts_with(b":");
        let word =
            if slipped { command.start..command.start + first_word } else { command.start..command.start };
        for field in [port, identity, word] {
            let Some(colon) = line[field.clone()].iter().position(|&byte| byte == b':') else { continue };
            let secret = field.start + colon + 1..field.end;
            if line[secret.clone()] != *STORED.as_bytes() {
                secrets.push(start + blanks + secret.start..start + blanks + secret.end);
            }
        }
    }
    let has_passwords = secrets.iter().any(|secret| !secret.is_empty());
    source.hide(secrets, has_passwords);
}

/// A debug build reads a smaller limit from the environment, for fast tests.
fn max_connections() -> usize {
    #[cfg(debug_assertions)]
    if let Some(limit) = std::env::var("WININETD_TEST_LIMIT").ok().and_then(|limit| limit.parse().ok()) {
        return limit;
    }
    MAX_CONNECTIONS
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Splits a line into two words and the rest without trailing blanks. A missing field is an empty
/// range at the end of the line.
fn fields(line: &[u8]) -> [Range<usize>; 3] {
    let end = line.len() - line.iter().rev().take_while(|&&byte| is_blank(byte)).count();
    let skip = |at: usize, blank: bool| {
        at + line[at..end].iter().take_while(|&&byte| is_blank(byte) == blank).count()
    };
    let port = 0..skip(0, false);
    let identity_start = skip(port.end, true);
    let identity = identity_start..skip(identity_start, false);
    let command_start = skip(identity.end, true);
    [port, identity, command_start..end]
}

#[cfg(test)]
#[path = "classic_tests.rs"]
mod tests;
