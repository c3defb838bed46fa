//! Quotes and splits the words of a command line, which Windows passes as one string.

/// Quotes a word for the C runtime if it has blanks or quotes.
pub(super) fn word(text: &str) -> String {
    if !text.is_empty() && !text.contains([' ', '\t', '"']) { text.to_owned() } else { quoted(text) }
}

/// Quotes a word in any case. Doubles the backslashes before a quote.
pub(super) fn quoted(text: &str) -> String {
    let mut word = String::from("\"");
    let mut backslashes = 0;
    for letter in text.chars() {
        match letter {
            '\\' => backslashes += 1,
            '"' => {
                word.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        word.push(letter);
    }
    word.extend(std::iter::repeat_n('\\', backslashes));
    word.push('"');
    word
}

/// Splits a command line as programs do. A backslash escapes only before a quote, and two
/// quotes within quotes mean one. In the first word, a path, backslashes escape nothing.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut letters = line.trim_start_matches([' ', '\t']).chars().peekable();
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut is_word = false;
    while let Some(letter) = letters.next() {
        let first = words.is_empty();
        match letter {
            ' ' | '\t' if !quoted => {
                if is_word || first {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
                continue;
            }
            '"' if quoted && !first && letters.peek() == Some(&'"') => {
                letters.next();
                word.push('"');
            }
            '"' => quoted = !quoted,
            '\\' if !first => {
                let mut count = 1;
                while letters.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let before_quote = letters.peek() == Some(&'"');
                word.extend(std::iter::repeat_n('\\', if before_quote { count / 2 } else { count }));
                if before_quote && count % 2 == 1 {
                    letters.next();
                    word.push('"');
                }
            }
            letter => word.push(letter),
        }
        is_word = true;
    }
    if is_word {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_as_programs_split_it() {
        for (line, words) in [
            (r#""c:\a b\x.exe" 1 "2 3" "#, vec![r"c:\a b\x.exe", "1", "2 3"]),
            (r"c:\x.exe", vec![r"c:\x.exe"]),
            (r#"c:\a\ "" \\ "\\" \" a"b c"d"#, vec![r"c:\a\", "", r"\\", r"\", "\"", "ab cd"]),
            (r#"x "a""b" \\\"c"#, vec!["x", "a\"b", "\\\"c"]),
            ("x\ta  \t b", vec!["x", "a", "b"]),
            ("", vec![]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }
}
