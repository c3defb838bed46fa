//! Every key of the native file, as data: what it is called, what may stand
//! behind it, in which tables. Errors, the schema and the reference come from
//! here and so agree.

use super::units::{Fault, quote};
use crate::sys::{CAPABILITIES, Capabilities};

/// A table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// The file itself.
    File,
    /// `[server]`.
    Server,
    /// `[defaults]`.
    Defaults,
    /// `[service.NAME]`.
    Service,
    /// `limits` of a service.
    Limits,
    /// `tls` of a service.
    Tls,
}

/// What may stand behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number, at least 1.
    Count,
    /// A whole number, at least 1 and at most this.
    UpTo(u64),
    /// A time, of at least so many milliseconds.
    Duration(u64),
    /// Bytes.
    Size,
    /// So many in so long.
    Rate,
    /// A text that is sent to clients.
    Text,
    /// A name of the system: a user, a group.
    Name,
    /// A path.
    Path,
    /// A password, which is never shown.
    Password,
    /// A command line, or an array of arguments.
    Command,
    /// Addresses to listen on.
    Listen,
    /// Networks.
    Networks,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The mode of a file, in octal digits.
    Mode,
    /// Names and values of variables.
    Variables,
    /// Names of variables.
    Names,
    /// Patterns of files.
    Patterns,
    /// A table with keys of its own.
    Table(Table),
    /// Tables with names of their own: the services.
    Services,
    /// The same keys as the table that it stands in, for one system only.
    System,
}

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What may stand behind it.
    pub kind: Kind,
    /// Whether `false` may as well, for none.
    pub off: bool,
    /// Where it may stand.
    pub tables: &'static [Table],
    /// What holds without it, in words.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// Why this system can't honour it, if so.
    pub missing: fn(&Capabilities) -> Option<&'static str>,
    /// The cargo feature without which this program was built, if it is
    /// that which the key needs.
    pub unbuilt: Option<&'static str>,
}

const FILE: &[Table] = &[Table::File];
const SERVER: &[Table] = &[Table::Server];
const SERVICE: &[Table] = &[Table::Service];
const BOTH: &[Table] = &[Table::Service, Table::Defaults];
const LIMITS: &[Table] = &[Table::Limits];
const TLS: &[Table] = &[Table::Tls];

const fn key(
    name: &'static str,
    kind: Kind,
    tables: &'static [Table],
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, off: false, tables, default, doc, missing: |_| None, unbuilt: None }
}

impl Key {
    const fn or_false(mut self) -> Key {
        self.off = true;
        self
    }

    const fn unless(mut self, missing: fn(&Capabilities) -> Option<&'static str>) -> Key {
        self.missing = missing;
        self
    }

    const fn if_built(mut self, built: bool, feature: &'static str) -> Key {
        if !built {
            self.unbuilt = Some(feature);
        }
        self
    }

    /// The key of this name in a table, or what to say instead.
    pub fn find(name: &str, table: Table) -> Result<&'static Key, Fault> {
        let here = || KEYS.iter().filter(|key| key.tables.contains(&table));
        if let Some(key) = here().find(|key| key.name == name) {
            return Ok(key);
        }
        let hint = if let Some(nearest) = nearest(name, here().map(|key| key.name)) {
            Some(format!("did you mean `{nearest}`?"))
        } else {
            KEYS.iter()
                .find(|key| key.name == name)
                .map(|key| format!("`{name}` stands in {}", key.tables[0].shown()))
        };
        Err(Fault { message: format!("there is no key {} in {}", quote(name), table.shown()), hint })
    }

    /// Why this system can't honour it, if so.
    pub fn fault(&self) -> Option<&'static str> {
        (self.missing)(&CAPABILITIES)
    }
}

impl Table {
    /// As it is called in messages.
    pub fn shown(self) -> &'static str {
        match self {
            Table::File => "the file itself",
            Table::Server => "[server]",
            Table::Defaults => "[defaults]",
            Table::Service => "a [service.NAME]",
            Table::Limits => "`limits`",
            Table::Tls => "`tls`",
        }
    }
}

/// The nearest of these words, if one is near enough: a slip in every third letter, not more.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison takes the product of both lengths.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase().replace('-', "_");
    known
        .map(|candidate| (strsim::osa_distance(&lower, candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn without(able: bool, why: &'static str) -> Option<&'static str> {
    (!able).then_some(why)
}

const NO_SOCKETS: &str = "this system has no sockets in the file system for this";

/// All of them, in the order of the reference.
#[rustfmt::skip] // a line a key
pub(super) const KEYS: &[Key] = &[
    key("include", Kind::Patterns, FILE, "none", "More files with services; `*` stands for anything in the last part of a path."),
    key("server", Kind::Table(Table::Server), FILE, "", "What holds for the server as a whole."),
    key("defaults", Kind::Table(Table::Defaults), FILE, "", "Keys that hold for every service that does not set them."),
    key("service", Kind::Services, FILE, "", "The services, each a table `[service.NAME]`."),

    key("max_connections", Kind::Count, SERVER, "what the descriptor limit leaves room for", "The most connections of all services at once."),
    key("stop_grace", Kind::Duration(0), SERVER, "10s", "How long sessions may go on after a request to stop."),
    key("on_stop", Kind::Choice(&["end", "leave"]), SERVER, "end", "What becomes of sessions then: `end` ends their trees after the grace, `leave` lets those with the socket go on by themselves, as under inetd (Unix)."),
    key("log_file", Kind::Path, SERVER, "none", "Where log lines go as well; `--log-file` wins over it. A regular file in a folder that others cannot write."),
    key("event_log", Kind::Choice(&["events", "all"]), SERVER, "events", "What the Event Log of Windows is told: `events` is starts, stops, errors and first failures, `all` every record as well."),

    key("enabled", Kind::Flag, BOTH, "true", "Whether the service is served at all; its text is checked all the same."),
    key("listen", Kind::Listen, SERVICE, "none: it must be given", "Where clients come in: a port (on all addresses, or those of `--bind`), `ADDRESS:PORT`, `[ADDRESS]:PORT`, `unix:/PATH` (Unix), or an array of these."),
    key("socket_mode", Kind::Mode, BOTH, "0660", "The mode of a `unix:` socket: who may connect.")
        .unless(|system| without(system.unix_sockets, NO_SOCKETS)),
    key("socket_user", Kind::Name, BOTH, "the server's", "The owner of a `unix:` socket.")
        .unless(|system| without(system.unix_sockets, NO_SOCKETS)),
    key("socket_group", Kind::Name, BOTH, "the server's", "The group of a `unix:` socket.")
        .unless(|system| without(system.unix_sockets, NO_SOCKETS)),
    key("command", Kind::Command, BOTH, "none: it must be given", "The program and its arguments: one string, read as CMDLINE of the classic file, or an array, whose parts are taken as they are."),
    key("argv0", Kind::Name, BOTH, "the program as `command` names it", "The name that the program receives as its own (argv[0]), where that differs from `command`."),
    key("user", Kind::Name, BOTH, "`none`; where the server is root or LocalSystem it must be given", "The account that the program runs as; `none` is the account of the server."),
    key("password", Kind::Password, BOTH, "none", "Its password, which only Windows needs; `{stored}` is the one that `--set-password` stored."),
    key("group", Kind::Name, BOTH, "the account's own", "The group of the program (Unix); it needs `user`.")
        .unless(|system| without(system.groups, "this system has no group of a program")),
    key("load_profile", Kind::Flag, BOTH, "true", "Whether the account's profile is loaded (Windows).")
        .unless(|system| without(system.profiles, "this system has no profiles to load")),
    key("directory", Kind::Path, BOTH, "System32 on Windows, / on Unix", "The directory that the program starts in; a relative one counts from the file's folder."),
    key("environment", Kind::Variables, BOTH, "none", "Variables that the program finds besides."),
    key("inherit_environment", Kind::Names, BOTH, "all without `user`; with it `PATH`, `LANG`, `LC_*` and `TZ`", "Names of the variables that the program inherits from the server (with `user`, besides those)."),
    key("stdio", Kind::Choice(&["socket", "pipe"]), BOTH, "`--stdio`, or socket on Unix, pipe on Windows", "How the connection becomes the program's streams: `socket` is the connection itself; with `pipe` they are pipes, and the server moves the bytes."),
    key("stderr", Kind::Choice(&["log", "client", "discard"]), BOTH, "log", "Where the program's standard error goes: into the `log`, by lines, to the `client`, or nowhere with `discard`."),
    key("leftovers", Kind::Choice(&["end", "leave"]), BOTH, "end", "What becomes of processes that a program leaves behind when it ends: `end` ends them, `leave` lets them go on, as under inetd (Unix)."),
    key("allow", Kind::Networks, BOTH, "everybody", "From where clients may come; if given, from nowhere else. Of `allow` and `deny` the most specific match decides, and `deny` wins a tie."),
    key("deny", Kind::Networks, BOTH, "nobody", "From where clients may not come."),
    key("max_connections", Kind::Count, BOTH, "256", "The most connections of the service at once."),
    key("max_connections_per_source", Kind::Count, BOTH, "no limit", "The most from one source; over it a client is refused. IPv6 sources are counted by /64.").or_false(),
    key("when_full", Kind::Choice(&["wait", "refuse"]), BOTH, "wait", "What happens to a client over `max_connections` or `rate`: it waits in the backlog, or is refused."),
    key("rate", Kind::Rate, BOTH, "no limit", "How often a connection may begin.").or_false(),
    key("rate_per_source", Kind::Rate, BOTH, "no limit", "How often from one source; over it a client is refused.").or_false(),
    key("refusal", Kind::Text, BOTH, "nothing", "What a refused client is sent, if it does not expect TLS: one that a rule, a limit, a rate or a pause turns away."),
    key("banner", Kind::Text, BOTH, "nothing", "What a client is sent before its program starts."),
    key("idle_timeout", Kind::Duration(1), BOTH, "`--timeout`, or never", "A connection on which nothing moved for so long is ended. It implies `pipe` where the system does not tell what a program moves: everywhere but on Linux, and at `unix:` addresses.").or_false(),
    key("session_timeout", Kind::Duration(1), BOTH, "never", "A connection that lasts for so long is ended.").or_false(),
    key("linger_timeout", Kind::Duration(0), BOTH, "`--linger-timeout`, or 60s", "How long a program's last bytes may take to be delivered after its end."),
    key("kill_grace", Kind::Duration(0), BOTH, "5s", "How long a program that was asked to end may take."),
    key("keepalive", Kind::Duration(1000), BOTH, "60s", "After so much silence a client is asked whether it is there, six times, ten seconds apart.").or_false(),
    key("nodelay", Kind::Flag, BOTH, "true with pipes, false with the socket", "Whether connections have TCP_NODELAY, so that a small write does not wait until the client has acknowledged the one before. It has no effect at `unix:` addresses."),
    key("limits", Kind::Table(Table::Limits), BOTH, "none", "What a program may use."),
    key("proxy_protocol", Kind::Networks, BOTH, "none is expected", "Whose PROXY header, with which every connection begins then, names the client; other senders are refused. Clients of `unix:` sockets are trusted by `socket_mode`.").or_false(),
    key("tls", Kind::Table(Table::Tls), BOTH, "clear text", "How clients are spoken to in TLS. It implies `pipe`.").or_false().if_built(cfg!(feature = "tls"), "tls"),
    key("warm", Kind::UpTo(1000), BOTH, "none", "So many programs are started ahead of their clients, and wait; more than `max_connections` are of no use. It implies `pipe`.").or_false(),
    key("warm_header", Kind::Flag, BOTH, "false", "Whether the first that a program of `warm` reads is a PROXY v1 line, which names its client."),
    key("windows", Kind::System, &[Table::Server, Table::Defaults, Table::Service], "", "Keys of the table that it stands in, for Windows only."),
    key("unix", Kind::System, &[Table::Server, Table::Defaults, Table::Service], "", "Keys of the table that it stands in, for Unix only."),

    key("memory", Kind::Size, LIMITS, "no limit", "Memory: of each process on Unix, of the whole tree on Windows."),
    key("processes", Kind::Count, LIMITS, "no limit", "Processes of the tree at once."),
    key("cpu_time", Kind::Duration(1000), LIMITS, "no limit", "Processor time: of each process on Unix, of the whole tree on Windows."),
    key("open_files", Kind::Count, LIMITS, "no limit", "Descriptors of each process (Unix).")
        .unless(|system| without(system.open_files, "this system has no limit of open files")),

    key("certificate", Kind::Path, TLS, "none: it must be given", "The server's certificate in PEM, then those between it and its authority."),
    key("key", Kind::Path, TLS, "none: it must be given", "Its private key, in PEM."),
    key("client_ca", Kind::Path, TLS, "none", "Authorities of client certificates, in PEM; with it every client needs one."),
    key("crl", Kind::Path, TLS, "none", "Revocation lists (CRL) in PEM, at least one for each authority that issues client certificates. The server refuses what they revoke. Needs `client_ca`."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_has_a_key_twice() {
        for table in [Table::File, Table::Server, Table::Defaults, Table::Service, Table::Limits, Table::Tls]
        {
            let mut names: Vec<_> =
                KEYS.iter().filter(|key| key.tables.contains(&table)).map(|key| key.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{table:?}");
        }
    }

    #[test]
    fn a_word_that_is_far_from_all_has_no_nearest() {
        assert_eq!(nearest("banana", ["listen", "command"].into_iter()), None);
        assert_eq!(nearest("comand", ["listen", "command"].into_iter()), Some("command"));
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_one_or_the_table_that_knows_it() {
        let hint = |name, table| Key::find(name, table).unwrap_err().hint.unwrap_or_default();
        assert_eq!(hint("max_conections", Table::Service), "did you mean `max_connections`?");
        assert_eq!(hint("Listen", Table::Service), "did you mean `listen`?");
        assert_eq!(hint("max-connections", Table::Service), "did you mean `max_connections`?");
        assert_eq!(hint("stop_grace", Table::Service), "`stop_grace` stands in [server]");
        assert_eq!(hint("nonsense_of_mine", Table::Service), "");
    }
}
