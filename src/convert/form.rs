//! Recognizes the form of a file. Several forms or none is an error that says what was expected.

use std::ops::Range;

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::source::Source;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `PORT USER:PASS CMDLINE`.
    Classic,
    /// `name stream tcp nowait user program argv0 …`.
    Inetd,
    /// `service name { … }`.
    Xinetd,
}

const EXPECTED: &str = "a classic file has lines `PORT USER:PASS CMDLINE`, an inetd.conf has lines \
    `name stream tcp nowait user program arguments`, an xinetd.conf has blocks `service name { … }`";

pub(super) fn recognise(source: &Source, notes: &mut Vec<Diagnostic>) -> Result<Form, Vec<Diagnostic>> {
    let mut found: Vec<(Form, Range<usize>)> = Vec::new();
    let mut switched_off = false;
    let mut in_block = false;
    for (start, line) in source.lines() {
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let Some(first) = words.first() else { continue };
        if let Some(comment) = text.trim_start().strip_prefix('#') {
            let comment = comment.trim_start_matches("<off>#");
            switched_off |= is_inetd(&comment.split_ascii_whitespace().collect::<Vec<_>>());
            continue;
        }
        if in_block {
            in_block = *first != "}";
            continue;
        }
        let form = if is_inetd(&words) {
            Form::Inetd
        } else if is_xinetd(&words) {
            in_block = matches!(*first, "service" | "defaults");
            Form::Xinetd
        } else if first.starts_with(|letter: char| letter.is_ascii_digit()) && !line[0].is_ascii_whitespace()
        {
            Form::Classic
        } else {
            continue;
        };
        if !found.iter().any(|(known, _)| *known == form) {
            found.push((form, start..start + line.len().max(1)));
        }
    }
    match &found[..] {
        [(form, range)] => {
            let begins_with_digit = source.text[range.start].is_ascii_digit();
            if *form == Form::Inetd && begins_with_digit {
                let message = "read as a line of an inetd.conf; as a classic line it would run a program \
                    `tcp` as the user `stream`";
                notes.push(Diagnostic::at(Severity::Note, source, range, message));
            }
            Ok(*form)
        }
        [] if switched_off => Ok(Form::Inetd),
        [] => {
            let message = "no line of this file is a service of any form that is known";
            Err(vec![Diagnostic::of_file(Severity::Error, source, message).hint(EXPECTED.to_owned())])
        }
        several => Err(several
            .iter()
            .map(|(form, range)| {
                let message = format!("this is {}, but other lines have another form", form.name());
                Diagnostic::at(Severity::Error, source, range, message).hint(EXPECTED.to_owned())
            })
            .collect()),
    }
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Classic => "a line of a classic file",
            Form::Inetd => "a line of an inetd.conf",
            Form::Xinetd => "a part of an xinetd.conf",
        }
    }
}

fn is_inetd(words: &[&str]) -> bool {
    let socket_type = |word: &str| matches!(word, "stream" | "dgram" | "raw" | "rdm" | "seqpacket" | "tli");
    words.len() >= 6
        && socket_type(words[1])
        && (words[3].starts_with("wait") || words[3].starts_with("nowait"))
}

fn is_xinetd(words: &[&str]) -> bool {
    match words[0] {
        "service" => matches!(words[1..], [name] | [name, "{"] if name != "{"),
        "defaults" => matches!(words[1..], [] | ["{"]),
        "include" | "includedir" => words.len() == 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn form(text: &str) -> Result<Form, usize> {
        let source = Source::decode(Path::new("f"), text.into());
        recognise(&source, &mut Vec::new()).map_err(|errors| errors.len())
    }

    #[test]
    fn each_form_is_recognised_by_its_lines() {
        assert_eq!(form("# x\n80 none cmd\n"), Ok(Form::Classic));
        assert_eq!(form("# x\nfinger stream tcp nowait nobody /x x\n"), Ok(Form::Inetd));
        assert_eq!(form("defaults\n{\n}\nincludedir /etc/xinetd.d\n"), Ok(Form::Xinetd));
        assert_eq!(form("service a {\n80 = 1\n}\n"), Ok(Form::Xinetd));
    }

    #[test]
    fn an_inetd_conf_in_which_everything_is_switched_off_is_one() {
        assert_eq!(form("#<off># ftp stream tcp nowait root /x x\n"), Ok(Form::Inetd));
        assert_eq!(form("#discard stream tcp nowait root internal\n"), Ok(Form::Inetd));
    }

    #[test]
    fn several_forms_or_none_are_an_error() {
        assert_eq!(form("80 none cmd\nfinger stream tcp nowait nobody /x x\n"), Err(2));
        assert_eq!(form("service a\n{\n}\n80 none cmd\n"), Err(2));
        assert_eq!(form("[service.x]\nlisten = 80\n"), Err(1));
        assert_eq!(form(""), Err(1));
    }

    #[test]
    fn a_line_that_two_forms_would_read_is_told() {
        let source = Source::decode(Path::new("f"), b"80 stream tcp nowait root /x x\n".to_vec());
        let mut notes = Vec::new();
        assert_eq!(recognise(&source, &mut notes).unwrap(), Form::Inetd);
        assert!(notes[0].message.contains("as a classic line"));
    }
}
