//! The program of an inetd or xinetd entry, with or without tcpd before it.

use super::toml::{TomlEntry, array, string};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConvertedProgram {
    pub command: Vec<String>,
    /// Set if it differs from the program's name.
    pub argv0: Option<String>,
    /// tcpd starts the program.
    pub wrapped: bool,
    /// tcpd got a name without a path, so `command` has the directory where Debian's tcpd looks.
    pub assumed: bool,
}

/// Where tcpd looks for a program without a path. Fixed when tcpd is built; this is Debian's.
const DAEMONS: &str = "/usr/sbin";

/// Programs that run the applet that their name or first argument names. Static builds have longer
/// names.
const APPLETS: [&str; 2] = ["busybox", "toybox"];

/// `arguments` begins with `argv[0]`.
pub(super) fn started(program: &str, arguments: &[&str]) -> ConvertedProgram {
    let name = arguments.first().copied().unwrap_or(program);
    let wrapped = base(program) == "tcpd" && base(name) != "tcpd";
    let assumed = wrapped && !name.contains('/');
    // tcpd starts the program that its `argv[0]` names.
    let real = match (wrapped, assumed) {
        (false, _) => program.to_owned(),
        (true, false) => name.to_owned(),
        (true, true) => format!("{DAEMONS}/{name}"),
    };
    let own_name = base(name);
    let differs = base(&real) != own_name;
    // Name the applet by an argument. A login shell's `-sh` would be an option there.
    let has_applets = APPLETS.iter().any(|known| base(&real).starts_with(known));
    let is_applet = differs && has_applets && !own_name.is_empty() && !own_name.starts_with('-');
    let applet = is_applet.then(|| own_name.to_owned());
    let rest = arguments.iter().skip(1).map(|&argument| argument.to_owned());
    ConvertedProgram {
        argv0: (differs && !is_applet).then(|| name.to_owned()),
        command: std::iter::once(real).chain(applet).chain(rest).collect(),
        wrapped,
        assumed,
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl ConvertedProgram {
    pub(super) fn write(&self, entry: &mut TomlEntry) {
        entry.keys.set("command", array(&self.command));
        if let Some(name) = &self.argv0 {
            entry.keys.set("argv0", string(name));
        }
    }

    pub(super) fn assumption(&self) -> Option<String> {
        let path = self.command.first().filter(|_| self.assumed)?;
        Some(format!(
            "tcpd got a name without a path, and {path} is assumed: Debian's tcpd looks there; \
            write the path if yours looks elsewhere"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str, arguments: &[&str]) -> (String, Option<String>) {
        let started = started(program, arguments);
        (started.command.join(" "), started.argv0)
    }

    #[test]
    fn tcpd_gives_way_to_the_program_that_it_starts() {
        let tcpd = |arguments: &[&str]| {
            let started = started("/usr/sbin/tcpd", arguments);
            assert!(started.wrapped && started.argv0.is_none());
            (started.command.join(" "), started.assumption())
        };
        assert_eq!(tcpd(&["/opt/in.fingerd", "-l"]), ("/opt/in.fingerd -l".to_owned(), None));
        let (command, assumption) = tcpd(&["in.fingerd"]);
        assert_eq!(command, "/usr/sbin/in.fingerd");
        assert!(assumption.unwrap().contains("/usr/sbin/in.fingerd is assumed"));
    }

    #[test]
    fn another_name_than_the_programs_is_kept() {
        let as_it_is = |text: &str| (text.to_owned(), None);
        assert_eq!(command("/bin/sh", &["-sh", "-x"]), ("/bin/sh -x".to_owned(), Some("-sh".to_owned())));
        assert_eq!(command("/x/sshd", &["a/b"]), ("/x/sshd".to_owned(), Some("a/b".to_owned())));
        assert_eq!(command("/bin/cat", &["cat"]), as_it_is("/bin/cat"));
        assert_eq!(command("/bin/cat", &["/bin/cat"]), as_it_is("/bin/cat"));
        assert_eq!(command("/bin/cat", &[]), as_it_is("/bin/cat"));
    }

    #[test]
    fn an_applet_stays_the_first_argument() {
        let as_it_is = |text: &str| (text.to_owned(), None);
        assert_eq!(command("/bin/busybox", &["cat", "FILE"]), as_it_is("/bin/busybox cat FILE"));
        assert_eq!(command("/bin/busybox", &["busybox", "cat", "FILE"]), as_it_is("/bin/busybox cat FILE"));
        assert_eq!(command("/bin/busybox.static", &["/bin/cat"]), as_it_is("/bin/busybox.static cat"));
        assert_eq!(command("/bin/toybox", &["httpd", "."]), as_it_is("/bin/toybox httpd ."));
        assert_eq!(command("/bin/busybox", &["-sh"]), ("/bin/busybox".to_owned(), Some("-sh".to_owned())));
    }
}
