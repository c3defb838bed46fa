//! `--convert`: the native form of a classic file, an inetd.conf or an
//! xinetd.conf that behaves the same. What can't be carried over is said at its
//! place, and never makes the result more open than what it came from.

mod classic;
mod form;
mod inetd;
mod program;
mod toml;
mod words;
mod world;
mod xinetd;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::cli::Stored;
use crate::config::classic::hide_passwords;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;
use crate::error::Error;
use crate::sys;
use form::Form;
use toml::{Entry, Item};
use world::World;

/// A file in the native form.
pub struct Converted {
    /// The native file.
    pub text: String,
    /// What was not carried over, and what to look at, each with its place.
    pub notes: Vec<Diagnostic>,
}

impl fmt::Debug for Converted {
    /// The text may hold passwords.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Converted({} bytes, {:?})", self.text.len(), self.notes)
    }
}

/// Converts a file; options given beside it count for a classic one. `service`
/// is the name under which passwords are stored.
pub fn convert(path: &Path, options: &Stored, service: &str) -> Result<Converted, Error> {
    let unreadable =
        |cause| Error::Unreadable { path: path.to_owned(), example: sys::paths::EXAMPLE_LINE, cause };
    let source = Source::read_named(path).map_err(unreadable)?;
    convert_source(source, options, service, &World::of_system())
}

fn convert_source(
    mut source: Source,
    options: &Stored,
    service: &str,
    world: &World,
) -> Result<Converted, Error> {
    let mut notes = Vec::new();
    let converted = match form::recognise(&source, &mut notes) {
        Ok(Form::Classic) => classic::convert(&mut source, &options.defaults(service), &mut notes),
        Ok(Form::Inetd) => Ok(inetd::convert(&source, world, &mut notes)),
        Ok(Form::Xinetd) => xinetd::convert(&source, world, &mut notes),
        Err(errors) => {
            // Lines of a classic file may be among what is cited.
            hide_passwords(&mut source);
            Err(form::recognise(&source, &mut notes).err().unwrap_or(errors))
        }
    };
    match converted {
        Ok(document) => Ok(Converted { text: document.render(), notes }),
        Err(diagnostics) => Err(Error::NotConverted { diagnostics }),
    }
}

/// Puts a finding on the list; returns it as a comment for its place.
fn note(
    notes: &mut Vec<Diagnostic>,
    severity: Severity,
    source: &Source,
    range: &Range<usize>,
    message: impl Into<String>,
) -> String {
    let found = Diagnostic::at(severity, source, range, message);
    let comment = found.headline();
    notes.push(found);
    comment
}

/// Which of two services counts that want the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Winner {
    /// inetd: what comes later replaces it.
    Last,
    /// xinetd: the later one has the same id or can't be bound, and is dropped.
    First,
}

/// Switches off what did not count before either.
fn settle(items: &mut [Item], sources: &[Source], winner: Winner, notes: &mut Vec<Diagnostic>) {
    let mut entries: Vec<&mut Entry> = items
        .iter_mut()
        .filter_map(|item| match item {
            Item::Service(entry) if !entry.disabled => Some(entry),
            _ => None,
        })
        .collect();
    if winner == Winner::Last {
        entries.reverse();
    }
    let mut taken: HashMap<String, String> = HashMap::new();
    for entry in entries {
        let mut wanted = entry.listen.clone();
        if winner == Winner::First {
            wanted.push(entry.name.clone());
        }
        let source = &sources[entry.source];
        match wanted.iter().find_map(|wanted| Some((wanted, taken.get(wanted)?))) {
            Some((what, place)) => {
                entry.disabled = true;
                let message = format!("switched off: {place} has {what} as well, and that one counts");
                entry.comments.push(note(notes, Severity::Warning, source, &entry.typed, message));
            }
            None => {
                let line = source.place(entry.typed.start).line;
                let place = format!("{}:{line}", source.path.display());
                taken.extend(wanted.into_iter().map(|wanted| (wanted, place.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::native;
    use crate::config::plan::{Plan, Stderr, Stdio};
    use crate::sys::CAPABILITIES;

    fn convert_bytes(bytes: &[u8]) -> Result<Converted, Error> {
        let source = Source::decode(Path::new("f"), bytes.to_vec());
        convert_source(source, &Stored::default(), "wininetd", &World::example())
    }

    #[test]
    fn an_error_about_the_form_shows_no_password() {
        let error = convert_bytes(b"80 user:hunter2 x\necho stream tcp nowait root /x x\n").unwrap_err();
        assert!(error.to_string().contains("user:***") && !error.to_string().contains("hunter2"), "{error}");
    }

    /// The plan of what was written, for a server with these options.
    fn plan_of(converted: &Converted, options: &Stored) -> (Plan, Vec<Diagnostic>) {
        let written = Source::decode(Path::new("x.toml"), converted.text.clone().into_bytes());
        let (_, plan, found) = native::read(written, &options.defaults("wininetd"));
        (plan, found)
    }

    #[test]
    fn what_comes_from_an_inetd_has_no_default_of_ours_for_its_streams() {
        let xinetd =
            "service x\n{\nport = 79\nsocket_type = stream\nwait = no\nuser = nobody\nserver = /x\n}\n";
        for text in ["79 stream tcp nowait root /bin/cat cat\n", xinetd] {
            let converted = convert_bytes(text.as_bytes()).unwrap();
            let other = Stored { stdio: Some(Stdio::Pipe), ..Stored::default() };
            for options in [Stored::default(), other] {
                let (plan, mut found) = plan_of(&converted, &options);
                // An account that Windows wants a password for.
                found.retain(|found| !found.message.contains("needs `password`"));
                assert!(found.is_empty(), "{found:?}");
                let text = &converted.text;
                assert!(text.contains("stdio = \"socket\"") && text.contains("stderr = \"client\""));
                if CAPABILITIES.passwords && plan.services.is_empty() {
                    // Without its password there is no plan.
                    continue;
                }
                let service = plan.services.first().unwrap();
                assert_eq!((service.program.stdio, service.program.stderr), (Stdio::Socket, Stderr::Client));
            }
        }
    }

    /// Lines that are nearly those of one form or another.
    fn nearly() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("stream".to_owned()),
            Just("tcp".to_owned()),
            Just("nowait/1".to_owned()),
            Just("service".to_owned()),
            Just("defaults".to_owned()),
            Just("{".to_owned()),
            Just("}".to_owned()),
            Just("only_from".to_owned()),
            Just("+=".to_owned()),
            Just("=".to_owned()),
            Just("\n".to_owned()),
            Just("10.0.{1,2}".to_owned()),
            "[0-9]{1,5}",
            "[a-z:./'\"\\\\{}#=\u{1}é]{1,6}",
        ];
        proptest::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
    }

    /// What stands behind the port of a classic line, mostly right.
    fn classic() -> impl Strategy<Value = String> {
        "(none|u:p|d\\\\v:p'q|x:\\{stored\\})[ \t]{1,3}[a-z\\\\/]{1,5}( '[a-z ]{0,4}'| \"[a-z]{0,4}\"|)"
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = convert_bytes(&bytes);
        }

        #[test]
        fn a_classic_file_is_served_as_before(
            lines in proptest::collection::btree_map(1u16.., classic(), 1..6),
            timeout in proptest::option::of(0u64..100),
            linger_timeout in proptest::option::of(0u64..100),
            stdio in proptest::option::of(prop_oneof![Just(Stdio::Socket), Just(Stdio::Pipe)]),
            bind in proptest::collection::vec(any::<std::net::IpAddr>(), 0..3),
        ) {
            // An IPv6 address that is IPv4's is refused by the native form only.
            let bind = bind.iter().map(std::net::IpAddr::to_canonical).collect();
            let options = Stored { timeout, linger_timeout, stdio, bind, ..Stored::default() };
            let lines = lines.iter().map(|(port, rest)| format!("{port} {rest}\n"));
            let text = lines.collect::<String>();
            let decode = || Source::decode(Path::new("f"), text.clone().into_bytes());
            let defaults = options.defaults("wininetd");
            let (before, found) = crate::config::classic::parse(&mut decode(), &defaults);
            let converted = convert_source(decode(), &options, "wininetd", &World::example());
            if found.iter().any(|found| found.severity == Severity::Error) {
                prop_assert!(converted.is_err());
                return Ok(());
            }
            let converted = converted.unwrap();
            let (after, found) = plan_of(&converted, &Stored::default());
            prop_assert!(found.is_empty(), "{:?}\n{}", found, converted.text);
            prop_assert_eq!(before.services.len(), after.services.len());
            for (before, after) in before.services.iter().zip(&after.services) {
                prop_assert!(before.says_the_same(after), "{:?}\n{:?}", before, after);
            }
        }

        #[test]
        fn whatever_comes_out_can_be_served(text in nearly()) {
            // A name with a control character is refused, with its place.
            let text = text.replace('\u{1}', "");
            for form in ["80 none x\n", "echo stream tcp nowait root /bin/cat cat\n", "defaults\n{\n}\n"] {
                if let Ok(converted) = convert_bytes(format!("{form}{text}").as_bytes()) {
                    let (_, found) = plan_of(&converted, &Stored::default());
                    let errors = found.iter().any(|found| found.severity == Severity::Error);
                    prop_assert!(!errors, "{:?}\n{}", found, converted.text);
                }
            }
        }
    }
}
