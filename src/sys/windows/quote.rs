//! Words of a command line, which Windows passes as one text. `scm` tests that
//! they are read back as they were.

/// A word of a command line, as the C runtime reads it: in quotes where it has
/// blanks, with the backslashes before a quote doubled.
pub(super) fn word(text: &str) -> String {
    if !text.is_empty() && !text.contains([' ', '\t', '"']) { text.to_owned() } else { quoted(text) }
}

/// The same, in quotes in any case.
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
