//! Converts a classic file into the native form.

use std::ops::Range;

use super::loadable::keep_loadable;
use super::note;
use super::toml::{Document, Item, Keys, TomlEntry, literal, string};
use super::words::Span;
use crate::config::classic;
use crate::config::defaults::Defaults;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::loaded::Spans;
use crate::config::source::Source;
use crate::model::plan::{Service, Stdio};
use crate::model::secret::STORED;
use crate::sys::CAPABILITIES;

/// Converts the services. Fails with all errors of the text.
pub(super) fn convert(
    source: &Source,
    defaults: &Defaults,
    notes: &mut Vec<Diagnostic>,
) -> Result<Document, Vec<Diagnostic>> {
    // The copy of the text in `loaded` hides passwords.
    let loaded = classic::read(source.clone(), defaults);
    if loaded.has_errors() {
        return Err(loaded.diagnostics);
    }
    notes.extend_from_slice(&loaded.diagnostics);
    let mut document = Document {
        head: vec![format!("The native form of the classic file {}.", source.path.display())],
        defaults: common(defaults),
        ..Document::default()
    };
    for (service, spans) in loaded.services() {
        document.items.push(item(loaded.main(), service, spans, notes));
    }
    keep_loadable(&mut document, &loaded.sources, notes);
    Ok(document)
}

/// Keys for all services where a native file has another default or the command line set a value.
fn common(defaults: &Defaults) -> Keys {
    let mut keys = Keys::default();
    // Written even if it is this system's default: the file may move to another system.
    let stdio = defaults.stdio(&[]);
    let why = match stdio {
        Stdio::Socket => "the connection itself, as a classic file has it",
        Stdio::Pipe => "as the options given beside it want it",
    };
    keys.explain("stdio", string(stdio.name()), why);
    keys.explain("stderr", string("client"), "as a classic file has it");
    keys.set("directory", string(&defaults.directory.to_string_lossy()));
    keys.set("linger_timeout", string(&format!("{}s", defaults.linger_timeout.as_secs())));
    if let Some(timeout) = defaults.idle_timeout {
        keys.set("idle_timeout", string(&format!("{}s", timeout.as_secs())));
    }
    keys
}

fn item(source: &Source, service: &Service, spans: &Spans, notes: &mut Vec<Diagnostic>) -> Item {
    let text = |range: &Range<usize>| std::str::from_utf8(&source.text[range.clone()]).ok();
    let (Some(identity), Some(command)) = (text(&spans.identity), text(&spans.command)) else {
        let message = "not carried over: this line is not UTF-8, and a native file has to be";
        let comment = note(notes, Severity::Warning, source, &spans.command, message);
        return Item::Comment(vec![comment]);
    };
    let (name, listen) = (service.name.clone(), service.listen.clone());
    let typed = Span { source: 0, range: spans.command.clone() };
    let mut entry = TomlEntry { name, listen, typed, ..TomlEntry::default() };
    entry.keys.set("command", literal(command));
    if service.program.identity.is_none() {
        // Required, because a server of root accepts no service without a user.
        entry.keys.set("user", string("none"));
    }
    if let Some(credentials) = &service.program.identity {
        let (user, password) = identity.split_once(':').unwrap_or((identity, ""));
        entry.keys.set("user", string(user));
        // An empty password has a meaning only on systems that log on with passwords.
        let typed_empty = CAPABILITIES.passwords && credentials.password.is_some();
        if !password.is_empty() || typed_empty {
            entry.keys.set("password", literal(password));
        }
        if !password.is_empty() && password != STORED {
            let message = "this password is in the native file in clear text as well: keep others from \
                reading that, or store it with --set-password and write {stored}";
            let user = spans.identity.start..spans.identity.start + user.len();
            entry.comments.push(note(notes, Severity::Note, source, &user, message));
        }
    }
    Item::Service(entry)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::stored::Stored;

    fn convert_text(text: &str, options: &Stored) -> (String, Vec<Diagnostic>) {
        let source = Source::decode(Path::new("w.conf"), text.into());
        let mut notes = Vec::new();
        let document = convert(&source, &options.defaults("wininetd"), &mut notes).unwrap();
        (document.render(), notes)
    }

    #[test]
    fn a_line_keeps_its_command_line_and_its_classic_defaults() {
        let (text, notes) = convert_text("80 none  c:\\a b\\x.exe \"-y\"\n", &Stored::default());
        let expected = "stdio = \"socket\" # the connection itself, as a classic file has it\n\
            stderr = \"client\" # as a classic file has it\n";
        assert!(text.contains(expected), "{text}");
        let expected = "\n[service.80]\nlisten = [\"0.0.0.0:80\", \"[::]:80\"]\ncommand = 'c:\\a b\\x.exe \"-y\"'\nuser = \"none\"\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(notes.is_empty());
    }

    #[test]
    fn options_given_beside_it_are_written_down() {
        let options = Stored {
            stdio: Some(Stdio::Pipe),
            timeout: Some(30),
            linger_timeout: Some(0),
            bind: vec![[127, 0, 0, 1].into()],
            ..Stored::default()
        };
        let (text, _) = convert_text("80 none x\n", &options);
        for line in [
            "stdio = \"pipe\" # as the options",
            "idle_timeout = \"30s\"",
            "linger_timeout = \"0s\"",
            "listen = [\"127.0.0.1:80\"]",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_password_is_carried_and_never_shown() {
        let (text, notes) = convert_text("80 DOM\\u:pa'ss x\n81 v:{stored} x\n82 w: x\n", &Stored::default());
        assert!(text.contains("user = 'DOM\\u'\npassword = \"pa'ss\"\n"), "{text}");
        assert!(text.contains("user = \"v\"\npassword = '{stored}'\n"), "{text}");
        assert!(text.contains("user = \"w\"\n"), "{text}");
        assert_eq!(notes.len(), 1);
        assert!(!notes[0].to_string().contains("pa'ss"), "{}", notes[0]);
    }
}
