//! Text from outside is one harmless line of a bounded length, from which the
//! characters can be told.

use wininetd::log::escaped;

/// The longest text that is shown, in characters.
const LONGEST: usize = 1024;

/// What a terminal could take for a command, or for another order of the text.
fn is_unsafe(letter: char) -> bool {
    matches!(letter,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Panics where the promise is broken.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let shown = escaped(&text);
    assert!(!shown.contains(is_unsafe), "{shown:?}");
    let shortest = text.chars().count().min(LONGEST);
    assert!((shortest..=LONGEST * 8).contains(&shown.chars().count()), "{shown}");
    // What is harmless stays as it is.
    if !text.contains(is_unsafe) {
        assert!(text.starts_with(&shown));
    }
}
