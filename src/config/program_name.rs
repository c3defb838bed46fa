//! Which program a command line starts, by its name, also behind a shell or another starter.

use std::path::Path;

/// Programs that start the one that their arguments name.
const STARTERS: [&str; 15] = [
    "sh", "bash", "dash", "ash", "ksh", "zsh", "cmd", "env", "nice", "tcpd", "setpriv", "timeout", "chroot",
    "stdbuf", "setsid",
];

/// The first program of a command line that `known` knows, by its name and by the
/// words from it on. `program` is what the server starts, where it is found.
pub(super) fn find<'t, Known>(
    program: Option<&Path>,
    text: &'t str,
    known: impl Fn(&str, &[&str]) -> Option<Known>,
) -> Option<(&'t str, Known)> {
    let ends_word = |letter: char| letter.is_whitespace() || "\"';|&()`".contains(letter);
    let words: Vec<&str> = text.split(ends_word).filter(|word| !word.is_empty()).collect();
    // A path with blanks is several words: its last one is the name.
    let found = program.and_then(Path::file_name).map(|name| name.to_string_lossy());
    let first = match &found {
        Some(name) => words.iter().position(|word| base(word) == base(name)).unwrap_or_default(),
        None => 0,
    };
    let starts = words.get(first).is_some_and(|word| STARTERS.contains(&base(word)));
    let candidates = if starts { first..words.len() } else { first..words.len().min(first + 1) };
    candidates.into_iter().find_map(|at| {
        let name = base(words[at]);
        Some((name, known(name, &words[at..])?))
    })
}

/// A program's name without its folder and without `.exe`.
fn base(word: &str) -> &str {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    match name.len().checked_sub(4).and_then(|end| name.split_at_checked(end)) {
        Some((stem, end)) if end.eq_ignore_ascii_case(".exe") => stem,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_blanks_is_known_by_its_program() {
        let (program, text) = (Path::new("/opt/my tools/vsftpd"), "\"/opt/my tools/vsftpd\" -x");
        let is_vsftpd = |name: &str, _: &[&str]| (name == "vsftpd").then_some(());
        assert_eq!(find(Some(program), text, is_vsftpd).map(|(name, ())| name), Some("vsftpd"));
    }
}
