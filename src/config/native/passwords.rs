//! Passwords are never shown, whatever is wrong with the file around them; so
//! they are found by the look of the text, before it is read as TOML.

use std::ops::Range;

use crate::config::secret::STORED;
use crate::config::source::Source;

/// Hides what stands behind each `password =`.
pub(super) fn hide(source: &mut Source) {
    let secrets = find(&source.text);
    source.hide(secrets);
}

fn find(text: &[u8]) -> Vec<Range<usize>> {
    const KEY: &[u8] = b"password";
    let mut secrets: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].windows(KEY.len()).position(|window| window.eq_ignore_ascii_case(KEY))
    {
        at += found + KEY.len();
        let rest = &text[at..];
        let skipped = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'"' | b'\'')).count();
        // Also where the sign between them is forgotten or another one.
        let sign = matches!(rest.get(skipped), Some(b'=' | b':')) || skipped > 0;
        if !sign {
            continue;
        }
        let start = at + skipped + usize::from(matches!(rest.get(skipped), Some(b'=' | b':')));
        let secret = start..end_of(text, start);
        at = secret.end;
        if !is_stored(&text[secret.clone()]) {
            secrets.push(secret);
        }
    }
    secrets
}

/// Where the value ends at the latest: with its line, or with the quotes of a
/// text of many lines.
fn end_of(text: &[u8], start: usize) -> usize {
    let rest = &text[start..];
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    for quotes in [&b"\"\"\""[..], b"'''"] {
        if let Some(body) = rest[blanks..].strip_prefix(quotes) {
            let closing = body.windows(3).position(|window| window == quotes);
            let body = closing.map_or(body.len(), |at| at + 3);
            let end = start + blanks + 3 + body;
            return end + text[end..].iter().take_while(|byte| **byte != b'\n').count();
        }
    }
    start + rest.iter().take_while(|byte| **byte != b'\n').count()
}

fn is_stored(value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value);
    let value = value.split('#').next().unwrap_or_default().trim_matches([' ', '\t', '\r', '"', '\'']);
    value == STORED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> Vec<&str> {
        find(text.as_bytes()).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn what_stands_behind_the_key_is_hidden_however_it_is_written() {
        assert_eq!(hidden("password = \"secret\"\nuser = 'x'"), [" \"secret\""]);
        assert_eq!(hidden("service.a.password='secret' # x\n"), ["'secret' # x"]);
        assert_eq!(hidden("\"password\" = 'a'"), [" 'a'"]);
        assert_eq!(hidden("a = { password = 'secret', user = 'x' }"), [" 'secret', user = 'x' }"]);
        assert_eq!(hidden("password = \"\"\"one\ntwo\"\"\"\nx"), [" \"\"\"one\ntwo\"\"\""]);
        assert_eq!(hidden("password 'secret'"), ["secret'"]);
        assert!(hidden("password = \"{stored}\" # x\n").is_empty());
    }
}
