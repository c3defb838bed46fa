//! Masks passwords before the reader makes any message. If a file does not parse, it masks all
//! values, because any of them may be a password.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::KEYS;
use crate::config::source::Source;
use crate::model::secret::STORED;

pub(super) fn hide(source: &mut Source) {
    let mut found = Secrets::default();
    let mut is_sound = false;
    if let Ok(text) = std::str::from_utf8(&source.text) {
        let (document, errors) = DeTable::parse_recoverable(text);
        is_sound = errors.is_empty();
        found.in_table(text, document.get_ref(), false);
    }
    let Secrets { mut ranges, has_passwords } = found;
    if is_sound {
        ranges.sort_by_key(|range| range.start);
        ranges.dedup();
        source.hide(ranges, has_passwords);
    } else {
        source.hide_values(values(source), has_passwords);
    }
}

/// Everything except known keys at the start of a line. Other words may be part of a value.
fn values(source: &Source) -> Vec<Range<usize>> {
    let hidden = source.lines().map(|(start, line)| {
        let blanks = line.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let equals = line.iter().position(|&byte| byte == b'=');
        let is_key = |end| KEYS.iter().any(|key| key.name.as_bytes() == line[blanks..end].trim_ascii());
        let shown = equals.filter(|&end| blanks <= end && is_key(end)).map_or(blanks, |end| end + 1);
        let blanks = line[shown..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        start + shown + blanks..start + line.len()
    });
    hidden.filter(|range| !range.is_empty()).collect()
}

#[derive(Default)]
struct Secrets {
    ranges: Vec<Range<usize>>,
    has_passwords: bool,
}

impl Secrets {
    /// `is_secret`: the table stands under a password key, so every key and value is secret.
    fn in_table(&mut self, text: &str, table: &DeTable<'_>, is_secret: bool) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            self.ranges.extend(is_secret.then(|| key.span()));
            let is_stored = value.get_ref().as_str() == Some(STORED);
            self.has_passwords |= name == "password" && !is_stored;
            self.in_value(text, value, is_secret || resembles_password(name) && !is_stored);
            let range = value.span();
            // The form of the classic file, USER:PASS.
            let colon = text.get(range.clone()).filter(|_| name == "user").and_then(|value| value.find(':'));
            self.ranges.extend(colon.map(|colon| range.start + colon + 1..range.end));
        }
    }

    fn in_value(&mut self, text: &str, value: &Spanned<DeValue<'_>>, is_secret: bool) {
        match value.get_ref() {
            DeValue::Table(table) => self.in_table(text, table, is_secret),
            DeValue::Array(array) => array.iter().for_each(|value| self.in_value(text, value, is_secret)),
            _ if is_secret => self.ranges.push(value.span()),
            _ => {}
        }
    }
}

fn resembles_password(name: &str) -> bool {
    let name = name.to_lowercase();
    // The limit on length: a longer word is no misspelling of `password`.
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
        assert_eq!(shown("password = { secret = 1 }"), "password = { *** = *** }");
        assert_eq!(shown("[password.secret]\nx = 1"), "[password.***]\n*** = ***");
    }

    #[test]
    fn no_value_of_a_broken_text_is_shown() {
        assert_eq!(
            shown("listen = 80\n  user = 'x'\npasword = 'a\n[b]\nuser.x = 1"),
            "listen = …\n  user = …\n…\n…\n…"
        );
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
