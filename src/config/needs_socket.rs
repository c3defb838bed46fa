//! Programs that are known to fail without a socket as their standard input.
//! With pipes, and so with TLS, their clients get no answer and the log no reason.

use std::path::Path;

use super::plan::Service;
use crate::sys::Program;

/// A program, and what it does with pipes. Each entry was seen in a run of Debian 12's
/// package.
struct Known {
    names: &'static [&'static str],
    /// Only with this argument.
    with: Option<&'static str>,
    /// Not with this one.
    without: Option<&'static str>,
    does: &'static str,
    /// A way through pipes and TLS.
    instead: Option<&'static str>,
}

const KNOWN: [Known; 3] = [
    Known {
        names: &["rsync"],
        with: Some("--daemon"),
        without: Some("--server"),
        does: "starts a daemon of its own on port 873, in clear text, and does not answer the client",
        instead: Some("`rsync --server --daemon .` answers through pipes and TLS"),
    },
    Known {
        names: &["pure-ftpd"],
        with: None,
        without: None,
        does: "starts a daemon of its own on port 21, in clear text, and does not answer the client",
        instead: None,
    },
    Known {
        names: &[
            "dropbear",
            "vsftpd",
            "ftpd",
            "in.ftpd",
            "in.fingerd",
            "in.rlogind",
            "in.rshd",
            "telnetd",
            "in.telnetd",
        ],
        with: None,
        without: None,
        does: "asks its standard input for the client's address and ends without an answer",
        instead: None,
    },
];

/// Programs that start the one that their arguments name.
const STARTERS: [&str; 15] = [
    "sh", "bash", "dash", "ash", "ksh", "zsh", "cmd", "env", "nice", "tcpd", "setpriv", "timeout", "chroot",
    "stdbuf", "setsid",
];

/// The warning for a service whose program needs a socket and gets pipes, and what to do.
pub fn warning(service: &Service, program: Option<&Program>) -> Option<(String, String)> {
    if !service.has_pipes() {
        return None;
    }
    let text = service.program.command.text();
    let (name, known) = find(program.map(|program| program.path.as_path()), &text)?;
    let message = format!("{name} needs a socket, and gets pipes here: it {}", known.does);
    let socket = match service.tls {
        Some(_) => "leave out `tls`, write `stdio = \"socket\"`, and put stunnel in front of it",
        None => "write `stdio = \"socket\"` (or `--stdio socket`) without keys that imply `pipe`",
    };
    let instead = known.instead.map(|instead| format!("{instead}; or ")).unwrap_or_default();
    Some((message, format!("{instead}{socket} (docs/native-file.md, \"Programs that need a socket\")")))
}

/// The program of a command line that is known, and its name.
fn find<'t>(program: Option<&Path>, text: &'t str) -> Option<(&'t str, &'static Known)> {
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
        let has = |argument: &str| words[at..].contains(&argument);
        let known = KNOWN.iter().find(|known| {
            known.names.contains(&name) && known.with.is_none_or(has) && !known.without.is_some_and(has)
        })?;
        Some((name, known))
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

    fn name(text: &str) -> Option<&str> {
        find(None, text).map(|(name, _)| name)
    }

    #[test]
    fn programs_that_need_a_socket_are_known_by_their_names() {
        assert_eq!(name("/usr/sbin/vsftpd /etc/vsftpd.conf"), Some("vsftpd"));
        assert_eq!(name("dropbear -i -r key"), Some("dropbear"));
        assert_eq!(name(r"c:\cygwin\bin\rsync.exe --daemon"), Some("rsync"));
        assert_eq!(name("rsync --daemon --config=f"), Some("rsync"));
        assert_eq!(name("/usr/bin/cat /usr/sbin/vsftpd"), None);
    }

    #[test]
    fn rsync_as_a_server_over_pipes_is_fine() {
        assert_eq!(name("rsync --server --daemon ."), None);
        assert_eq!(name("rsync --help"), None);
    }

    #[test]
    fn a_shell_does_not_hide_a_program_that_needs_a_socket() {
        assert_eq!(name("/bin/sh -c exec rsync --daemon"), Some("rsync"));
        assert_eq!(name("sh -c \"umask 2;rsync --daemon; true\""), Some("rsync"));
        assert_eq!(name("env A=b /usr/sbin/vsftpd"), Some("vsftpd"));
        assert_eq!(name("sh -c 'rsync --server --daemon .'"), None);
    }

    #[test]
    fn a_path_with_blanks_is_known_by_its_program() {
        let (program, text) = (Path::new("/opt/my tools/vsftpd"), "\"/opt/my tools/vsftpd\" -x");
        assert_eq!(find(Some(program), text).map(|(name, _)| name), Some("vsftpd"));
    }
}
