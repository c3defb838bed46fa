//! `--serve ADDRESS=COMMAND`: services without a file, for a trial at a console. A bare port
//! listens on loopback only, so that a trial is not reachable from the network.

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::defaults::{Defaults, STDIO_FAULT_HINT};
use super::diagnostic::{Diagnostic, Severity};
use super::loaded::{Loaded, Spans};
use super::source::Source;
use super::zeros::without_leading_zeros;
use crate::config::error::Error;
use crate::model::command_line::CommandLine;
use crate::model::listen::Address;
use crate::model::plan::Service;
use crate::sys;
use crate::sys::command::Command;

pub const NAME: &str = "--serve";

/// Reads the options. The error holds all findings.
pub fn load(options: &[OsString], defaults: &Defaults) -> Result<Loaded, Error> {
    read(options, defaults).without_errors()
}

/// Reads the options and keeps their errors in the result.
fn read(options: &[OsString], defaults: &Defaults) -> Loaded {
    let mut text = Vec::new();
    let mut places = Vec::new();
    for option in options {
        let start = text.len();
        text.extend_from_slice(option.as_encoded_bytes());
        places.push(start..text.len());
        text.push(b'\n');
    }
    let source = Source::typed(Path::new(NAME), text);
    let mut reader = ServeReader { source: &source, defaults, taken: Vec::new(), diagnostics: Vec::new() };
    let services = places.into_iter().filter_map(|place| reader.service(place)).collect();
    let diagnostics = reader.diagnostics;
    Loaded::of_one(source, services, diagnostics)
}

struct ServeReader<'a> {
    source: &'a Source,
    defaults: &'a Defaults,
    taken: Vec<(Address, Range<usize>)>,
    diagnostics: Vec<Diagnostic>,
}

const FORM: &str = "write ADDRESS=COMMAND, such as 8080=cat or 192.0.2.1:8080=cat";

impl ServeReader<'_> {
    fn error(&mut self, range: &Range<usize>, message: impl Into<String>, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        self.diagnostics.push(Diagnostic::at(Severity::Error, self.source, range, message).hint(hint));
    }

    /// Reads one option. Checks both halves even if one has an error.
    fn service(&mut self, option: Range<usize>) -> Option<(Service, Spans)> {
        let source = self.source;
        let text = &source.text[option.clone()];
        let Some(middle) = text.iter().position(|&byte| byte == b'=') else {
            self.error(&option, "there is no = between an address and a command", Some(FORM));
            return None;
        };
        let place = |part: Range<usize>| option.start + part.start..option.start + part.end;
        let address = place(trimmed(text, 0..middle));
        let command = place(trimmed(text, middle + 1..text.len()));
        let listen = self.addresses(&address);
        let program = self.command(&command, &place(middle..middle + 1));
        let (listen, program) = (listen?, program?);
        if let Some(fault) = self.defaults.stdio_fault(&listen) {
            self.error(&address, fault, Some(STDIO_FAULT_HINT));
        }
        let name = String::from_utf8_lossy(&source.text[address.clone()]).into_owned();
        let spans = Spans { identity: address.clone(), listen: address, command, ..Spans::default() };
        Some((self.defaults.service(name, listen, program, None), spans))
    }

    fn addresses(&mut self, range: &Range<usize>) -> Option<Vec<Address>> {
        let text = String::from_utf8_lossy(&self.source.text[range.clone()]).into_owned();
        let addresses = match addresses(&text) {
            Ok(addresses) => addresses,
            Err((message, hint)) => {
                self.error(range, message, Some(&hint));
                return None;
            }
        };
        for address in &addresses {
            if let Some((_, first)) = self.taken.iter().find(|(taken, _)| taken == address) {
                let line = self.source.place(first.start).line;
                self.error(
                    range,
                    format!("{address} already has a service, from {NAME} number {line}"),
                    None,
                );
                return None;
            }
        }
        self.taken.extend(addresses.iter().map(|address| (address.clone(), range.clone())));
        Some(addresses)
    }

    fn command(&mut self, range: &Range<usize>, equals: &Range<usize>) -> Option<CommandLine> {
        if range.is_empty() {
            self.error(equals, "the command is missing after this", Some(FORM));
            return None;
        }
        let line = CommandLine::line(sys::text::os_string(&self.source.text[range.clone()]));
        Command::new(&line)
            .map(|_| line)
            .map_err(|fault| {
                let at = (range.start + fault.position).min(range.end.saturating_sub(1));
                let meant = if fault.position == 0 { range.clone() } else { at..at + 1 };
                self.error(&meant, fault.message, fault.hint.as_deref());
            })
            .ok()
    }
}

/// Parses an address. The error is a message and a hint.
fn addresses(text: &str) -> Result<Vec<Address>, (String, String)> {
    let form = || FORM.to_owned();
    let no_port = |digits: &str| {
        let digits: String = digits.chars().take(20).collect();
        (format!("{digits} is not a port: ports are 1 to 65535"), form())
    };
    if text.is_empty() {
        return Err(("the address is missing before the =".to_owned(), form()));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(("the path is missing after unix:".to_owned(), form()));
        }
        let path = PathBuf::from(path);
        return Ok(vec![Address::Unix(std::path::absolute(&path).unwrap_or(path))]);
    }
    if let Some(plain) = without_leading_zeros(text)
        && addresses(&plain).is_ok()
    {
        let message = format!("{text} has a number with a leading zero, which some programs read as octal");
        return Err((message, format!("write {plain}")));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = text.parse().ok().filter(|&port: &u16| port != 0).ok_or_else(|| no_port(text))?;
        let loopback = |ip| Address::Tcp(SocketAddr::new(ip, port));
        return Ok(vec![loopback(Ipv4Addr::LOCALHOST.into()), loopback(Ipv6Addr::LOCALHOST.into())]);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(no_port("0")),
        Ok(address) => Ok(vec![Address::Tcp(address)]),
        Err(_) => Err((
            "this is not an address with a port".to_owned(),
            "write PORT, 192.0.2.1:PORT, [2001:db8::1]:PORT or unix:PATH; host names are not looked up"
                .to_owned(),
        )),
    }
}

fn trimmed(text: &[u8], part: Range<usize>) -> Range<usize> {
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let start = part.start + text[part.clone()].iter().take_while(blank).count();
    let end = part.end - text[start..part.end].iter().rev().take_while(blank).count();
    start..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::plan::Stdio;

    fn loaded(options: &[&str]) -> Loaded {
        let options: Vec<OsString> = options.iter().map(OsString::from).collect();
        let defaults =
            crate::config::stored::Stored { linger_timeout: Some(7), ..Default::default() }.defaults("w");
        read(&options, &Defaults { directory: PathBuf::from("/here"), ..defaults })
    }

    fn listens(address: &str) -> Vec<String> {
        let Loaded { plan, diagnostics, .. } = loaded(&[&format!("{address}=cat")]);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(plan.services[0].name, address);
        plan.services[0].listen.iter().map(ToString::to_string).collect()
    }

    fn error(option: &str) -> String {
        let found = loaded(&[option]).diagnostics;
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].to_string()
    }

    #[test]
    fn bare_port_listens_on_loopback_only() {
        assert_eq!(listens("80"), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(listens("0.0.0.0:80"), ["0.0.0.0:80"]);
        assert_eq!(listens("[2001:db8::1]:80"), ["[2001:db8::1]:80"]);
    }

    #[test]
    fn the_first_equals_sign_separates() {
        let Loaded { plan, .. } = loaded(&["80= sort --key=2 "]);
        assert_eq!(plan.services[0].program.command, CommandLine::line("sort --key=2"));
        assert_eq!(plan.services[0].program.directory, Path::new("/here"));
        assert_eq!(plan.services[0].times.linger_timeout.as_secs(), 7);
    }

    #[test]
    fn faulty_serve_option_is_shown_with_its_position() {
        let mut shown = error("eighty=cat");
        shown.truncate(shown.find("\n  |\n  = hint").unwrap());
        assert_eq!(shown, "--serve:1:1: this is not an address with a port\n  |\n1 | eighty=cat\n  | ^^^^^^");
        for (option, message) in [
            ("", "there is no ="),
            ("80", "there is no ="),
            ("=cat", "the address is missing"),
            ("80=", "the command is missing"),
            ("80= ", "the command is missing"),
            ("0=cat", "0 is not a port"),
            ("65536=cat", "65536 is not a port"),
            ("080=cat", "hint: write 80"),
            ("127.0.0.01:080=cat", "hint: write 127.0.0.1:80"),
            ("127.0.0.1:0=cat", "0 is not a port"),
            ("127.0.0.1=cat", "not an address with a port"),
            ("localhost:80=cat", "host names are not looked up"),
            ("unix:=cat", "the path is missing"),
            ("80=\"cat", "has no closing"),
        ] {
            let found = error(option);
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn all_serve_errors_and_duplicate_addresses_are_reported() {
        let found = loaded(&["80=cat", "127.0.0.1:80=cat", "nowhere=\"", "[0::1]:80=cat"]).diagnostics;
        let found: Vec<_> = found.iter().map(Diagnostic::headline).collect();
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0], "--serve:2:1: 127.0.0.1:80 already has a service, from --serve number 1");
        assert!(found[1].starts_with("--serve:3:1: ") && found[2].starts_with("--serve:3:9: "), "{found:?}");
        assert!(found[3].starts_with("--serve:4:1: [::1]:80 already has a service"), "{found:?}");
    }

    #[test]
    fn stdio_is_the_socket_unless_an_option_implies_pipes() {
        let read = |stdio, timeout| {
            let defaults =
                crate::config::stored::Stored { stdio, timeout, ..Default::default() }.defaults("w");
            read(&["80=cat".into(), "unix:/x.sock=cat".into()], &defaults)
        };
        let pipes = |loaded: &Loaded| [0, 1].map(|number: usize| loaded.plan.services[number].has_pipes());
        assert_eq!(pipes(&read(None, None)), [false, false]);
        assert_eq!(pipes(&read(Some(Stdio::Pipe), None)), [true, true]);
        let counted = sys::CAPABILITIES.byte_counts;
        let found = read(None, Some(5));
        assert_eq!((pipes(&found), found.diagnostics.len()), ([!counted, true], 0));
        let found = read(Some(Stdio::Socket), Some(5)).diagnostics;
        let last = found.last().unwrap().to_string();
        assert!(
            last.starts_with("--serve:2:1: `--timeout` implies `--stdio pipe`, not `socket`: "),
            "{last}"
        );
        assert_eq!(found.len(), if counted { 1 } else { 2 });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(options in proptest::collection::vec(any::<String>(), 0..4)) {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let Loaded { plan, diagnostics, .. } = loaded(&options);
            let wrong: std::collections::HashSet<_> = diagnostics.iter().map(|found| {
                assert!(found.to_string().starts_with("--serve:"));
                found.to_string().split(':').nth(1).unwrap().to_owned()
            }).collect();
            prop_assert!(plan.services.len() + wrong.len() >= usize::from(!options.is_empty()));
        }
    }
}
