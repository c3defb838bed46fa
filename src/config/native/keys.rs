//! Every key of the native file: its name, what it holds, where it may stand.
//! Reading, the errors of slips, the schema and the reference follow this table.

use crate::sys::Capabilities;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Where clients come in.
    Listen,
    /// A command line, or its words.
    Command,
    /// Text of any kind.
    Text,
    /// A password, never shown.
    Password,
    /// A file or folder; relative ones count from the file's folder.
    Path,
    /// The bits of a mode, in octal digits.
    Mode,
    /// Words for a client, as long as fit into a new connection.
    Words,
    /// Names of variables.
    Names,
    /// Variables and their values.
    Environment,
    /// Networks or addresses.
    Networks,
    /// Files to read as well.
    Patterns,
    /// A number, at least one.
    Count,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// So many in so long.
    Rate,
    /// A time.
    Duration,
    /// A time, or `false` for never.
    DurationOrFalse,
    /// An amount of memory.
    Size,
    /// Yes or no.
    Bool,
    /// What a program may use.
    Limits,
    /// Known, and not there yet.
    Later,
}

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What holds without it.
    pub(super) default: &'static str,
    /// What it is, in a sentence.
    pub(super) about: &'static str,
    /// Which systems can honour it, if not all.
    pub(super) only: Option<Only>,
}

/// Which systems can honour a key.
#[derive(Debug)]
pub(super) struct Only {
    pub(super) asks: fn(&Capabilities) -> bool,
    /// Those that can, in words.
    pub(super) systems: &'static str,
}

const UNIX: &str = "Unix";

const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, default, about, only: None }
}

#[allow(clippy::needless_pass_by_value)] // it is made for this call
const fn only(key: Key, systems: &'static str, asks: fn(&Capabilities) -> bool) -> Key {
    Key { only: Some(Only { asks, systems }), ..key }
}

/// The keys above all tables.
pub(super) const TOP: &[Key] = &[key(
    "include",
    Kind::Patterns,
    "none",
    "Files with more services, read as if they stood here; `*` in the last part stands for any name.",
)];

/// The keys of `[server]`.
pub(super) const SERVER: &[Key] = &[
    key(
        "max_connections",
        Kind::Count,
        "as many as the descriptor limit leaves room for",
        "The most connections of all services at once.",
    ),
    key(
        "stop_grace",
        Kind::Duration,
        "10s",
        "How long sessions may go on at a stop; then they are asked to end, and then their trees are ended.",
    ),
    key(
        "on_stop",
        Kind::Choice(&["end", "leave"]),
        "end",
        "What becomes of sessions at a stop: they are ended, or left to go on by themselves (Unix).",
    ),
    key("log_file", Kind::Path, "none", "A file for every log line; `--log-file` wins over it."),
    key(
        "event_log",
        Kind::Choice(&["events", "all"]),
        "events",
        "What the Event Log of Windows is told: what an administrator should see, or every record as well.",
    ),
];

/// The keys of a service, and of `[defaults]` except `listen`.
pub(super) const SERVICE: &[Key] = &[
    key(
        "listen",
        Kind::Listen,
        "required",
        "Where clients come in: a port, `address:port`, `unix:/path`, or an array of such.",
    ),
    key(
        "command",
        Kind::Command,
        "required",
        "What serves a connection: one string as a command line, or an array of the program and its arguments.",
    ),
    key("user", Kind::Text, "the server's own account", "The account that the program runs as."),
    key(
        "password",
        Kind::Password,
        "none",
        "Its password, or `{stored}` for one of --set-password. Windows only, accepted and unused elsewhere.",
    ),
    only(
        key(
            "group",
            Kind::Text,
            "the account's own",
            "The program's group in the place of the account's own.",
        ),
        UNIX,
        |can| can.groups,
    ),
    only(
        key("load_profile", Kind::Bool, "true", "Whether the account's profile is loaded."),
        "Windows",
        |can| can.profiles,
    ),
    key("directory", Kind::Path, "System32, or `/`", "The directory that the program starts in."),
    key("environment", Kind::Environment, "none", "More variables for the program."),
    key(
        "inherit_environment",
        Kind::Names,
        "all without a user, none with one",
        "Names of variables that the program inherits from the server.",
    ),
    key(
        "stdio",
        Kind::Choice(&["socket"]),
        "socket",
        "How the connection becomes the program's streams: `socket` is the connection itself. `pipe` comes with a later version.",
    ),
    key(
        "stderr",
        Kind::Choice(&["client", "discard"]),
        "client",
        "Where the program's standard error goes. `log` comes with a later version.",
    ),
    key(
        "allow",
        Kind::Networks,
        "everybody",
        "Networks that clients may come from; with it nobody else may. The most specific match of `allow` and `deny` decides.",
    ),
    key("deny", Kind::Networks, "nobody", "Networks that clients may not come from; it wins a tie."),
    key("max_connections", Kind::Count, "256", "The most connections at once."),
    key(
        "max_connections_per_source",
        Kind::Count,
        "no limit",
        "The most connections at once from one address (IPv6: from one /64); over it a client is refused.",
    ),
    key(
        "when_full",
        Kind::Choice(&["wait", "refuse"]),
        "wait",
        "What happens to a client over `max_connections` or `rate`: it waits in the backlog, or is refused.",
    ),
    key(
        "rate",
        Kind::Rate,
        "no limit",
        "How often connections may begin; as many as in one period may come at once.",
    ),
    key(
        "rate_per_source",
        Kind::Rate,
        "no limit",
        "The same for each address (IPv6: each /64); over it a client is refused.",
    ),
    key("refusal", Kind::Words, "none", "What a client that is refused is sent, before it is closed."),
    key("banner", Kind::Words, "none", "What a client that is served is sent, before its program starts."),
    only(
        key(
            "idle_timeout",
            Kind::Duration,
            "that of --timeout, which is never",
            "A connection on which nothing moved for so long, in either direction, is ended.",
        ),
        "Linux, from the kernel's counts",
        |can| can.byte_counts,
    ),
    key(
        "linger_timeout",
        Kind::Duration,
        "60s",
        "How long what the program wrote last may take to be delivered after its end; `0s` closes at once.",
    ),
    key(
        "keepalive",
        Kind::DurationOrFalse,
        "60s",
        "A client that was silent for so long is asked whether it is there, 6 times, 10 s apart; `false` never asks.",
    ),
    key("session_timeout", Kind::Duration, "never", "A connection that lasts for so long is ended."),
    key(
        "kill_grace",
        Kind::Duration,
        "5s",
        "How long a program that was asked to end may take; then its whole tree is ended.",
    ),
    key("limits", Kind::Limits, "none", "What the program may use."),
    key("enabled", Kind::Bool, "true", "Whether the service is served."),
    only(
        key("socket_mode", Kind::Mode, "0660", "The mode of a `unix:` socket: who may connect."),
        UNIX,
        |can| can.unix_sockets,
    ),
    only(
        key("socket_user", Kind::Text, "the server's account", "The owner of a `unix:` socket."),
        UNIX,
        |can| can.unix_sockets,
    ),
    only(
        key("socket_group", Kind::Text, "the server's group", "The group of a `unix:` socket."),
        UNIX,
        |can| can.unix_sockets,
    ),
    key("proxy_protocol", Kind::Later, "none", "Comes with a later version."),
    key("tls", Kind::Later, "none", "Comes with a later version."),
    key("warm", Kind::Later, "none", "Comes with a later version."),
    key("warm_header", Kind::Later, "none", "Comes with a later version."),
];

/// The keys of `limits`.
pub(super) const LIMITS: &[Key] = &[
    key(
        "memory",
        Kind::Size,
        "no limit",
        "Memory for data: of each process on Unix, of the whole tree on Windows.",
    ),
    key(
        "processes",
        Kind::Count,
        "no limit",
        "Processes of the tree at once: by the job on Windows, by a cgroup of the server's own on Linux.",
    ),
    key(
        "cpu_time",
        Kind::Duration,
        "no limit",
        "Processor time: of each process on Unix (in whole seconds), of the whole tree on Windows.",
    ),
    only(
        key("open_files", Kind::Count, "the server's original limit", "Descriptors of each process."),
        UNIX,
        |can| can.open_files,
    ),
];

/// The key of this name.
pub(super) fn find<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    keys.iter().find(|key| key.name == name)
}

/// The known name that was most likely meant.
pub(super) fn nearest<'a>(names: impl IntoIterator<Item = &'a str>, typed: &str) -> Option<&'a str> {
    let near = |name: &str| {
        let distance = distance(name, typed);
        // A third of the letters may be wrong; more is another word.
        (distance <= name.len().max(3) / 3).then_some(distance)
    };
    let found = names.into_iter().filter_map(|name| Some((near(name)?, name)));
    found.min().map(|(_, name)| name)
}

/// How many letters have to be changed, put in or taken out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(80).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, same) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *same);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let names = || SERVICE.iter().map(|key| key.name);
        assert_eq!(nearest(names(), "comand"), Some("command"));
        assert_eq!(nearest(names(), "max_conections"), Some("max_connections"));
        assert_eq!(nearest(names(), "colour"), None);
        assert_eq!(nearest(names(), "rates"), Some("rate"));
    }
}
