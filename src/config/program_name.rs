//! Finds the name of the program that a command line starts, also behind a shell.

use std::path::Path;

const STARTERS: [&str; 15] = [
    "sh", "bash", "dash", "ash", "ksh", "zsh", "cmd", "env", "nice", "tcpd", "setpriv", "timeout", "chroot",
    "stdbuf", "setsid",
];

/// Finds the first program that `known` recognizes. `known` gets the name and the words from the
/// name on. `program` is the resolved program, if any: with `argv0` the first word is another name.
pub(super) fn find<Known>(
    program: Option<&Path>,
    text: &str,
    known: impl Fn(&str, &[&str]) -> Option<Known>,
) -> Option<(String, Known)> {
    let ends_word = |letter: char| letter.is_whitespace() || "\"';|&()`".contains(letter);
    let words: Vec<&str> = text.split(ends_word).filter(|word| !word.is_empty()).collect();
    let found = program.and_then(Path::file_name).map(|name| name.to_string_lossy());
    let own = found.as_deref().or(words.first().copied()).map(base)?;
    // A path with blanks is several words. The last of them is the name.
    let at = words.iter().position(|word| base(word).eq_ignore_ascii_case(own)).unwrap_or_default();
    let words: Vec<&str> = std::iter::once(own).chain(words.into_iter().skip(at + 1)).collect();
    let starts = STARTERS.iter().any(|starter| own.eq_ignore_ascii_case(starter));
    let candidates = if starts { words.len() } else { 1 };
    (0..candidates).find_map(|at| {
        let name = base(words[at]);
        Some((name.to_owned(), known(name, &words[at..])?))
    })
}

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
        assert!(find(Some(program), text, is_vsftpd).is_some());
    }

    #[test]
    fn another_own_name_does_not_hide_a_program() {
        assert!(find(Some(Path::new("/usr/sbin/vsftpd")), "ftp conf", is_vsftpd).is_some());
        assert!(find(Some(Path::new("/bin/sh")), "-sh -c vsftpd", is_vsftpd).is_some());
        assert!(find(Some(Path::new("/usr/sbin/other")), "vsftpd", is_vsftpd).is_none());
    }

    #[test]
    fn a_starter_is_known_in_any_case() {
        assert!(find(None, r"C:\Windows\CMD.EXE /c vsftpd", is_vsftpd).is_some());
    }

    fn is_vsftpd(name: &str, _: &[&str]) -> Option<()> {
        (name == "vsftpd").then_some(())
    }
}
