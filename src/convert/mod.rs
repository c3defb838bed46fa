//! `--convert`: converts a classic file, an inetd.conf or an xinetd.conf into a native file with
//! the same behavior. A note marks everything that cannot be carried over. The result is never less
//! restrictive than the original.

mod account;
mod classic;
mod form;
mod inetd;
mod loadable;
mod program;
mod reader;
mod settle;
mod toml;
mod words;
mod world;
mod xinetd;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::config::classic::hide_passwords;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::error::Error;
use crate::config::source::Source;
use crate::config::stored::Stored;
use crate::sys;
use form::Form;
use world::World;

pub struct Converted {
    pub text: String,
    /// What was not carried over and what to check, each with its location.
    pub notes: Vec<Diagnostic>,
}

impl fmt::Debug for Converted {
    /// Leaves out the text, which may hold passwords.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Converted({} bytes, {:?})", self.text.len(), self.notes)
    }
}

/// `options` apply only to a classic file. `service` is the name under which passwords are stored.
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
        Ok(Form::Classic) => classic::convert(&source, &options.defaults(service), &mut notes),
        Ok(Form::Inetd) => Ok(inetd::convert(&source, world, &mut notes)),
        Ok(Form::Xinetd) => xinetd::convert(&source, world, &mut notes),
        Err(errors) => {
            // The errors may cite lines of a classic file.
            hide_passwords(&mut source);
            Err(form::recognise(&source, &mut notes).err().unwrap_or(errors))
        }
    };
    match converted {
        Ok(document) => Ok(Converted { text: document.render(), notes }),
        Err(diagnostics) => Err(Error::NotConverted { diagnostics }),
    }
}

/// Adds a finding to `notes`. Returns it as a comment for the native file.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Loaded;
    use crate::config::defaults::Defaults;
    use crate::config::missing_user::MissingUser;
    use crate::config::native;
    use crate::model::plan::{Plan, Stderr, Stdio};
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

    fn plan_of(converted: &Converted, options: &Stored) -> (Plan, Vec<Diagnostic>) {
        let written = Source::decode(Path::new("x.toml"), converted.text.clone().into_bytes());
        let missing_user = MissingUser::Refused(CAPABILITIES.all_rights);
        let defaults = Defaults { missing_user, ..options.defaults("wininetd") };
        let loaded = native::read(written, &defaults);
        (loaded.plan, loaded.diagnostics)
    }

    #[test]
    fn converted_services_state_their_streams_explicitly() {
        let xinetd =
            "service x\n{\nport = 79\nsocket_type = stream\nwait = no\nuser = nobody\nserver = /x\n}\n";
        for text in ["79 stream tcp nowait root /bin/cat cat\n", xinetd] {
            let converted = convert_bytes(text.as_bytes()).unwrap();
            let other = Stored { stdio: Some(Stdio::Pipe), ..Stored::default() };
            for options in [Stored::default(), other] {
                let (plan, found) = plan_of(&converted, &options);
                assert!(found.is_empty(), "{found:?}");
                let text = &converted.text;
                assert!(text.contains("stdio = \"socket\"") && text.contains("stderr = \"client\""));
                let service = plan.services.first().unwrap();
                assert_eq!((service.program.stdio, service.program.stderr), (Stdio::Socket, Stderr::Client));
            }
        }
    }

    fn word() -> impl Strategy<Value = Vec<u8>> {
        let known = "stream|tcp|tcp6|tcp46|tcp6only|unix|nowait|nowait/1|nowait.5|service|defaults|{|}|only_from|+=|\
            =|\n|\r|10.0.{1,2}|::ffff:1.2.3.4|::1/64|localhost|env|passenv|CLIENT_IP=x|REMOTE_HOST|A=b|A=c|a=b|=b|\
            none|NONE|root|7|9|:x|x:|x.y|#|#x|#<off>#|\0|\"|'|\\|/bin/x.cmd|79|127.0.0.1:79|*:79|[::]:79|/run/x/|\
            ::::/run/x|:u:g:1777:/run/x|UNLIMITED|99999999999999999999|4294967295|port = 79|bind = ::|\
            flags = IPv6|v6only = yes|user = 7|group = 9|rlimit_as = 99999999999999M|rlimit_files = 9999999999|\
            id = _x|server_args = # \0|cps = 4294967295 1|umask = 027|/usr/sbin/tcpd|/bin/busybox";
        let known: Vec<&str> = known.split('|').collect();
        let known = proptest::sample::select(known).prop_map(|word| word.as_bytes().to_vec());
        let text = "[0-9]{1,5}|[a-z:./'\"\\\\{}#=\u{1}\u{7f}é]{1,6}".prop_map(String::into_bytes);
        prop_oneof![4 => known, 2 => text, 1 => proptest::collection::vec(any::<u8>(), 1..4)]
    }

    fn words(most: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(word(), 0..most).prop_map(|words| words.join(&b" "[..]))
    }

    fn inetd_line() -> impl Strategy<Value = Vec<u8>> {
        let field = || prop_oneof![3 => Just(None), 1 => word().prop_map(Some)];
        let usual = ["79", "stream", "tcp", "nowait", "nobody", "/bin/cat", "cat"];
        let fields = proptest::collection::vec(field(), usual.len());
        (fields, words(4)).prop_map(move |(fields, rest)| {
            let fields = fields.into_iter().zip(usual);
            let mut line: Vec<u8> = fields
                .flat_map(|(word, usual)| [word.unwrap_or_else(|| usual.into()), b" ".to_vec()].concat())
                .collect();
            line.extend(rest);
            line
        })
    }

    fn xinetd_block() -> impl Strategy<Value = Vec<u8>> {
        let names = "server_args env passenv only_from no_access user group port bind id instances per_source cps \
            rlimit_as rlimit_cpu rlimit_files flags umask v6only";
        let names: Vec<&str> = names.split_whitespace().collect();
        let attribute = (proptest::sample::select(names), words(4));
        proptest::collection::vec(attribute, 0..5).prop_map(|attributes| {
            let mut text = b"service finger\n{\n".to_vec();
            for (name, values) in attributes {
                text.extend([name.as_bytes(), b" = ", &values[..], b"\n"].concat());
            }
            text.extend(b"socket_type = stream\nwait = no\nuser = nobody\nserver = /x\nport = 79\n}\n");
            text
        })
    }

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
            // Only the native form refuses IPv4-mapped addresses, so leave them out.
            let bind = bind.iter().map(std::net::IpAddr::to_canonical).collect();
            let options = Stored { timeout, linger_timeout, stdio, bind, ..Stored::default() };
            let lines = lines.iter().map(|(port, rest)| format!("{port} {rest}\n"));
            let text = lines.collect::<String>();
            let decode = || Source::decode(Path::new("f"), text.clone().into_bytes());
            let defaults = options.defaults("wininetd");
            let Loaded { plan: before, diagnostics: found, .. } = crate::config::classic::read(decode(), &defaults);
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
                prop_assert_eq!(before, after);
            }
        }

        #[test]
        fn every_converted_file_loads(
            lines in proptest::collection::vec(inetd_line(), 0..4),
            blocks in proptest::collection::vec(xinetd_block(), 0..3),
            more in words(60),
        ) {
            let of = |begins: &str, parts: &[Vec<u8>]| [begins.as_bytes(), &parts.join(&b'\n'), b"\n"].concat();
            let inetd = of("80 stream tcp nowait root /bin/cat cat\n", &lines);
            let xinetd = of("defaults\n{\n}\n", &blocks);
            let mut texts = vec![inetd.clone(), xinetd.clone()];
            texts.extend([&b"80 none x\n"[..], &inetd, &xinetd].map(|text| [text, &more].concat()));
            for text in texts {
                let Ok(converted) = convert_bytes(&text) else { continue };
                let (_, found) = plan_of(&converted, &Stored::default());
                let errors = found.iter().any(|found| found.severity == Severity::Error);
                prop_assert!(!errors, "{:?}\n{}", found, converted.text);
            }
        }
    }
}
