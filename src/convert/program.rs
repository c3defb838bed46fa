//! The program of an entry of inetd or xinetd: what its first argument said,
//! and what stood before it.

/// A program as it is to be started, and what differs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Started {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// tcpd stood before it.
    pub wrapped: bool,
    /// The name that it was started under, where that was another one.
    pub other_name: Option<String>,
}

/// Where tcpd looks for a program that it is given without a path.
const DAEMONS: &str = "/usr/sbin";

/// `arguments` begin with the name that the program is started under.
pub(super) fn started(program: &str, arguments: &[&str]) -> Started {
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let name = arguments.first().copied().unwrap_or(program);
    let rest = arguments.iter().skip(1).map(|&argument| argument.to_owned());
    let wrapped = base(program) == "tcpd" && base(name) != "tcpd";
    // tcpd starts what its own name says, under that name.
    let real = match name.contains('/') {
        _ if !wrapped => program.to_owned(),
        true => name.to_owned(),
        false => format!("{DAEMONS}/{name}"),
    };
    let other_name = (base(&real) != base(name)).then(|| name.to_owned());
    Started { command: std::iter::once(real).chain(rest).collect(), wrapped, other_name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str, arguments: &[&str]) -> (String, bool, bool) {
        let started = started(program, arguments);
        (started.command.join(" "), started.wrapped, started.other_name.is_some())
    }

    #[test]
    fn tcpd_gives_way_to_the_program_that_it_starts() {
        let real = |name: &str| (name.to_owned(), true, false);
        assert_eq!(command("/usr/sbin/tcpd", &["/opt/in.fingerd", "-l"]), real("/opt/in.fingerd -l"));
        assert_eq!(command("/usr/sbin/tcpd", &["in.fingerd"]), real("/usr/sbin/in.fingerd"));
    }

    #[test]
    fn another_name_than_the_programs_is_noticed() {
        assert_eq!(command("/bin/busybox", &["httpd", "-i"]), ("/bin/busybox -i".to_owned(), false, true));
        assert_eq!(command("/bin/cat", &["cat"]), ("/bin/cat".to_owned(), false, false));
        assert_eq!(command("/bin/cat", &["/bin/cat"]), ("/bin/cat".to_owned(), false, false));
        assert_eq!(command("/bin/cat", &[]), ("/bin/cat".to_owned(), false, false));
    }
}
