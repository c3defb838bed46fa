//! Passwords are found and hidden before anything is said of a file, also where
//! its text is broken or the key is misspelt.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::source::Source;
use crate::model::secret::STORED;

/// Hides what is or may be a password.
pub(super) fn hide(source: &mut Source) {
    let mut found = Found::default();
    let mut sound = false;
    if let Ok(text) = std::str::from_utf8(&source.text) {
        let (document, errors) = DeTable::parse_recoverable(text);
        sound = errors.is_empty();
        found.in_table(text, document.get_ref());
    }
    if !sound {
        found.in_lines(&source.text);
    }
    let Found { mut passwords, suspects } = found;
    passwords.sort_by_key(|range| range.start);
    source.hide(passwords);
    source.hide_suspects(suspects);
}

#[derive(Default)]
struct Found {
    /// Values of `password`.
    passwords: Vec<Range<usize>>,
    /// What may be one all the same.
    suspects: Vec<Range<usize>>,
}

impl Found {
    fn in_table(&mut self, text: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let (name, range) = (key.get_ref().as_ref(), value.span());
            let is_stored = value.get_ref().as_str() == Some(STORED);
            if resembles_password(name) {
                self.within(value);
            }
            if name == "password" && !is_stored {
                self.passwords.push(range);
            } else if resembles_password(name) && !is_stored {
                self.suspects.push(range);
            } else if name == "user" {
                // The classic form, USER:PASS.
                let colon = text.get(range.clone()).and_then(|value| value.find(':'));
                self.suspects.extend(colon.map(|colon| range.start + colon + 1..range.end));
            } else {
                self.in_value(text, value);
            }
        }
    }

    /// What a table holds that stands in the place of a password: that of
    /// `password.x = 1` spans no more than its name.
    fn within(&mut self, value: &Spanned<DeValue<'_>>) {
        if let DeValue::Table(table) = value.get_ref() {
            for (_, value) in table {
                self.suspects.push(value.span());
                self.within(value);
            }
        }
    }

    fn in_value(&mut self, text: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.in_table(text, table),
            DeValue::Array(array) => self.in_array(text, array),
            _ => {}
        }
    }

    fn in_array(&mut self, text: &str, array: &DeArray<'_>) {
        for value in array.iter() {
            self.in_value(text, value);
        }
    }

    /// What stands behind words that resemble the key, however broken the
    /// text is.
    fn in_lines(&mut self, text: &[u8]) {
        let part_of_word = |at: usize| {
            text.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        let mut at = 0;
        while at < text.len() {
            let end = at + (at..text.len()).take_while(|&at| part_of_word(at)).count();
            if end == at {
                at += 1;
                continue;
            }
            let word = String::from_utf8_lossy(&text[at..end]);
            let line_end = |at: usize| at + text[at..].iter().take_while(|&&byte| byte != b'\n').count();
            if resembles_password(&word) {
                self.suspects.push(end..value_end(text, end, line_end));
            } else if word == "user" {
                let rest = end..value_end(text, end, line_end);
                let colon = text[rest.clone()].iter().position(|&byte| byte == b':');
                self.suspects.extend(colon.map(|colon| end + colon + 1..rest.end));
            }
            at = end;
        }
    }
}

/// Where what stands behind a key at `start` ends at the latest: with its line
/// if the value is whole there, else with the next one that holds something.
fn value_end(text: &[u8], start: usize, line_end: impl Fn(usize) -> usize) -> usize {
    let mut end = line_end(start);
    let rest = String::from_utf8_lossy(&text[start..end]).into_owned();
    if is_whole(&rest) {
        return end;
    }
    if rest.contains(['[', '{']) || rest.contains("\"\"\"") || rest.contains("'''") {
        // Where these close can't be known in a broken text.
        return text.len();
    }
    while end < text.len() {
        let next = end + 1..line_end(end + 1);
        end = next.end;
        if text[next].iter().any(u8::is_ascii_alphanumeric) {
            break;
        }
    }
    end
}

/// Whether a line goes on behind its key with `= "value"`, and then ends.
fn is_whole(rest: &str) -> bool {
    let rest = rest.trim_start_matches(['"', '\'']).trim_start();
    let Some(value) = rest.strip_prefix('=').map(str::trim_start) else { return false };
    ['"', '\''].into_iter().any(|quote| {
        let parts = value.strip_prefix(quote).and_then(|value| value.split_once(quote));
        parts.is_some_and(|(inner, behind)| {
            let behind = behind.trim_start();
            !inner.is_empty() && !inner.contains('\\') && (behind.is_empty() || behind.starts_with('#'))
        })
    })
}

fn resembles_password(name: &str) -> bool {
    let name = name.to_lowercase();
    // Longer words are not slips of this one.
    name.contains("passw")
        || name.contains("pwd")
        || name.len() <= 12 && strsim::osa_distance(&name, "password") <= 2
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let mut source = Source::decode(Path::new("f"), text.as_bytes().to_vec());
        hide(&mut source);
        let lines: Vec<_> = source.lines().map(|(start, line)| start..start + line.len()).collect();
        lines.into_iter().map(|line| source.cite(&line).0).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_password_is_hidden_and_what_stands_beside_it_is_not() {
        assert_eq!(
            shown("a = { user = 'x', password = 'secret' } # b"),
            "a = { user = 'x', password = *** } # b"
        );
        assert_eq!(shown("password = '{stored}'"), "password = '{stored}'");
        assert_eq!(shown("pasword = 'secret'\nx = 1"), "pasword = ***\nx = 1");
        for text in ["password.x = ['secret']", "[password.x.y]\nz = 'secret'", "pasword.x = 'secret'"] {
            assert!(!shown(text).contains("secret"), "{}", shown(text));
        }
        assert_eq!(shown("user = 'davide:secret'"), "user = 'davide:***");
    }

    proptest! {
        #[test]
        fn a_password_is_hidden_in_broken_text_too(
            before in "(|[a-z =\"'\\[{,]{0,8})",
            between in "( = |=| |: | = \"| = '| =\n| = \\[| = \\{ a = )",
            after in "[ \"'\\]}a-z=\n]{0,8}",
        ) {
            let text = format!("{before} password{between}SECRET{after}\n= = x\n");
            prop_assert!(!shown(&text).contains("SECRET"), "{}", shown(&text));
        }
    }
}
