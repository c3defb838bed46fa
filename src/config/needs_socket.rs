//! Programs that fail without a socket as standard input. With pipes, and so with TLS, their
//! clients get no answer and the log shows no reason.

use super::program_name::find;
use crate::model::plan::Service;
use crate::sys::FoundProgram;
use crate::sys::command::Command;

/// Each entry was observed with Debian 12's package.
struct KnownProgram {
    names: &'static [&'static str],
    /// The entry applies only with this argument.
    with: Option<&'static str>,
    /// The entry does not apply with this argument.
    without: Option<&'static str>,
    does: &'static str,
    instead: Option<&'static str>,
}

const KNOWN: [KnownProgram; 3] = [
    KnownProgram {
        names: &["rsync"],
        with: Some("--daemon"),
        without: Some("--server"),
        does: "starts a daemon of its own on port 873, in clear text, and does not answer the client",
        instead: Some("`rsync --server --daemon .` answers through pipes and TLS"),
    },
    KnownProgram {
        names: &["pure-ftpd"],
        with: None,
        without: None,
        does: "starts a daemon of its own on port 21, in clear text, and does not answer the client",
        instead: None,
    },
    KnownProgram {
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

/// Returns a warning and a hint.
pub fn warning(service: &Service, program: Option<&FoundProgram>) -> Option<(String, String)> {
    if !service.has_pipes() {
        return None;
    }
    let text = Command::new(&service.program.command).ok()?.text();
    let (name, known) = find(program.map(|program| program.path.as_path()), &text, known)?;
    let message = format!("{name} needs a socket, and gets pipes here: it {}", known.does);
    let socket = match service.tls {
        Some(_) => "leave out `tls`, write `stdio = \"socket\"`, and put stunnel in front of it",
        None => "write `stdio = \"socket\"` (or `--stdio socket`) without keys that imply `pipe`",
    };
    let instead = known.instead.map(|instead| format!("{instead}; or ")).unwrap_or_default();
    Some((message, format!("{instead}{socket} (docs/native-file.md, \"Programs that need a socket\")")))
}

fn known(name: &str, words: &[&str]) -> Option<&'static KnownProgram> {
    let has = |argument: &str| words.contains(&argument);
    KNOWN.iter().find(|known| {
        known.names.contains(&name) && known.with.is_none_or(has) && !known.without.is_some_and(has)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        find(None, text, known).map(|(name, _)| name)
    }

    #[test]
    fn programs_that_need_a_socket_are_known_by_their_names() {
        assert_eq!(name("/usr/sbin/vsftpd /etc/vsftpd.conf"), Some("vsftpd".to_owned()));
        assert_eq!(name("dropbear -i -r key"), Some("dropbear".to_owned()));
        assert_eq!(name(r"c:\cygwin\bin\rsync.exe --daemon"), Some("rsync".to_owned()));
        assert_eq!(name("rsync --daemon --config=f"), Some("rsync".to_owned()));
        assert_eq!(name("/usr/bin/cat /usr/sbin/vsftpd"), None);
    }

    #[test]
    fn rsync_as_a_server_over_pipes_is_fine() {
        assert_eq!(name("rsync --server --daemon ."), None);
        assert_eq!(name("rsync --help"), None);
    }

    #[test]
    fn a_shell_does_not_hide_a_program_that_needs_a_socket() {
        assert_eq!(name("/bin/sh -c exec rsync --daemon"), Some("rsync".to_owned()));
        assert_eq!(name("sh -c \"umask 2;rsync --daemon; true\""), Some("rsync".to_owned()));
        assert_eq!(name("env A=b /usr/sbin/vsftpd"), Some("vsftpd".to_owned()));
        assert_eq!(name("sh -c 'rsync --server --daemon .'"), None);
    }
}
