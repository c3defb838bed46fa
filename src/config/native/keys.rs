//! The table of all keys: names, types, tables, and defaults as text. The reader's structs, the
//! errors, the schema and the reference derive from it. Defaults themselves are in
//! `config/defaults.rs` and `model/`.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;
use zeroize::Zeroizing;

use std::collections::BTreeSet;

use super::raw::{Field, Raw, tables};
use super::reader::Cell;
use super::report::At;
use super::service::ServiceEntry;
use super::units::{Fault, quote};
use super::value::{Mode, Patterns, Typed};
use crate::model::command_line::CommandLine;
use crate::model::endings::{Leftovers, OnStop};
use crate::model::limits::Rate;
use crate::model::listen::Address;
use crate::model::plan::{EventLogExtent, Stderr, Stdio, WhenFull};
use crate::sys::{CAPABILITIES, Capabilities};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    File,
    Server,
    Defaults,
    Service,
    Limits,
    Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Flag,
    /// At least 1.
    Count,
    /// From 1 to this limit.
    UpTo(u64),
    /// At least this many milliseconds.
    Duration(u64),
    Size,
    Rate,
    /// Text for clients.
    Text,
    Name,
    Path,
    Password,
    Command,
    Listen,
    Networks,
    Choice(&'static [&'static str]),
    Mode,
    Variables,
    Names,
    Patterns,
    Table(Table),
    /// Tables with names chosen by the user.
    Services,
    /// Keys of the enclosing table, for one system only.
    System,
}

#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: ValueKind,
    /// Whether `false` is also valid, meaning none.
    pub off: bool,
    pub tables: &'static [Table],
    pub default: &'static str,
    pub doc: &'static str,
    /// Why a system does not support the key, if so.
    pub missing: fn(&Capabilities) -> Option<&'static str>,
    /// The cargo feature that the key needs, if this program was built without it.
    pub unbuilt: Option<&'static str>,
}

const FILE: &[Table] = &[Table::File];
const SERVER: &[Table] = &[Table::Server];
const SERVICE: &[Table] = &[Table::Service];
const BOTH: &[Table] = &[Table::Service, Table::Defaults];
const LIMITS: &[Table] = &[Table::Limits];
const TLS: &[Table] = &[Table::Tls];

const fn key<T: Typed>(
    name: &'static str,
    tables: &'static [Table],
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind: T::KIND, off: false, tables, default, doc, missing: |_| None, unbuilt: None }
}

const fn system(name: &'static str, doc: &'static str) -> Key {
    let tables = &[Table::Server, Table::Defaults, Table::Service];
    Key {
        name,
        kind: ValueKind::System,
        off: false,
        tables,
        default: "",
        doc,
        missing: |_| None,
        unbuilt: None,
    }
}

impl Key {
    const fn or_false(mut self) -> Key {
        self.off = true;
        self
    }

    const fn at_least(mut self, milliseconds: u64) -> Key {
        self.kind = ValueKind::Duration(milliseconds);
        self
    }

    const fn at_most(mut self, count: u64) -> Key {
        self.kind = ValueKind::UpTo(count);
        self
    }

    const fn in_table(mut self, table: Table) -> Key {
        self.kind = ValueKind::Table(table);
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

    pub fn fault(&self) -> Option<&'static str> {
        (self.missing)(&CAPABILITIES)
    }
}

impl ValueKind {
    /// As the end of a sentence.
    pub fn wanted(self) -> String {
        match self {
            ValueKind::Flag => "`true` or `false`".to_owned(),
            ValueKind::Count => "a whole number from 1 on".to_owned(),
            ValueKind::UpTo(most) => format!("a whole number from 1 to {most}"),
            ValueKind::Duration(_) => "a time, as \"10s\" or \"5m\"".to_owned(),
            ValueKind::Size => "a size, as \"256MiB\"".to_owned(),
            ValueKind::Rate => "a rate, as \"50/s\"".to_owned(),
            ValueKind::Text | ValueKind::Name | ValueKind::Password | ValueKind::Path => {
                "a string".to_owned()
            }
            ValueKind::Command => "a string or an array of strings".to_owned(),
            ValueKind::Listen => "a port, a string or an array of these".to_owned(),
            ValueKind::Networks => "an array of networks, as [\"10.0.0.0/8\"]".to_owned(),
            ValueKind::Choice(words) => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
            }
            ValueKind::Mode => "a string of octal digits, as \"0660\"".to_owned(),
            ValueKind::Variables => "a table of strings, as { LANG = \"C\" }".to_owned(),
            ValueKind::Names | ValueKind::Patterns => "an array of strings".to_owned(),
            ValueKind::Table(_) | ValueKind::System => "a table".to_owned(),
            ValueKind::Services => "tables with names: [service.NAME]".to_owned(),
        }
    }
}

impl Table {
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

/// The word with the fewest typing errors, at most one in three letters.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison takes time proportional to the product of both lengths.
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

tables! {
    RawFile(File) {
        include: Patterns [FILE, "none", "More files with services; `*` matches anything in the last part of a path."];
        server: RawServer [FILE, "", "Settings of the whole server."];
        defaults: RawService [FILE, "", "Values for every service that does not set the key itself."] .in_table(Table::Defaults);
        service: Vec<ServiceEntry> [FILE, "", "The services, each a table `[service.NAME]`."];
    }

    /// `[server]`.
    RawServer(Server) {
        max_connections: usize [SERVER, "as many as the descriptor limit allows", "The limit of concurrent connections of all services together."];
        stop_grace: Duration [SERVER, "10s", "How long sessions may continue after a request to stop."];
        on_stop: OnStop [SERVER, "end", "What happens to sessions at a stop: `end` terminates their trees after the grace period; `leave` lets sessions with the socket continue without the server, as under inetd (Unix)."];
        log_file: PathBuf [SERVER, "none", "A log file besides the other destinations. `--log-file` overrides it. It must be a regular file in a folder that other accounts cannot write."];
        event_log: EventLogExtent [SERVER, "events", "What goes to the Event Log of Windows: `events` is starts, stops, errors and first failures; `all` adds every record."];
    }

    /// `[service.NAME]` and `[defaults]`.
    RawService(Service) {
        enabled: bool [BOTH, "true", "Whether the service is active. Its keys are checked in any case."];
        listen: Vec<(Address, At)> [SERVICE, "none: it must be given", "The addresses of the service: a port (on all addresses, or those of `--bind`), `ADDRESS:PORT`, `[ADDRESS]:PORT`, `unix:/PATH` (Unix), or an array of these."];
        socket_mode: Mode [BOTH, "0660", "The mode of a `unix:` socket, which decides which accounts may connect."] .unless(|system| without(system.unix_sockets, NO_SOCKETS));
        socket_user: String [BOTH, "the server's", "The owner of a `unix:` socket."] .unless(|system| without(system.unix_sockets, NO_SOCKETS));
        socket_group: String [BOTH, "the server's", "The group of a `unix:` socket."] .unless(|system| without(system.unix_sockets, NO_SOCKETS));
        pass_descriptors: bool [BOTH, "false", "Whether clients of a `unix:` address may pass descriptors to the program; it needs the socket."] .unless(|system| without(system.unix_sockets, NO_SOCKETS));
        command: CommandLine [BOTH, "none: it must be given", "The program and its arguments: one string, parsed like CMDLINE of the classic file, or an array, whose parts are used unchanged."];
        argv0: String [BOTH, "the program as `command` names it", "The program's own name (argv[0]), if it differs from `command`."];
        user: String [BOTH, "`none`; where the server is root or LocalSystem it must be given", "The account that the program runs as; `none` is the account of the server."];
        password: Zeroizing<String> [BOTH, "none", "Its password, which only Windows needs; `{stored}` means the password from `--set-password`."];
        group: String [BOTH, "the account's own", "The group of the program (Unix); it needs `user`."] .unless(|system| without(system.groups, "this system has no group of a program"));
        load_profile: bool [BOTH, "true", "Whether the server loads the account's profile (Windows)."] .unless(|system| without(system.profiles, "this system has no profiles to load"));
        directory: PathBuf [BOTH, "System32 on Windows, / on Unix", "The start directory of the program. A relative path starts at the file's folder."];
        environment: Vec<(String, String)> [BOTH, "none", "More environment variables for the program."];
        inherit_environment: Vec<String> [BOTH, "all without `user`; with it `PATH`, `LANG`, `LC_*` and `TZ`", "Names of the variables that the program inherits from the server (with `user`, besides those)."];
        stdio: Stdio [BOTH, "`--stdio`, or socket on Unix, pipe on Windows", "The program's streams: `socket` is the connection itself; `pipe` is pipes, and the server copies the bytes."];
        stderr: Stderr [BOTH, "log", "Where the program's standard error goes: to the `log`, line by line, to the `client`, or nowhere with `discard`."];
        leftovers: Leftovers [BOTH, "end", "What happens to processes that a program leaves behind: `end` terminates them, `leave` lets them continue, as under inetd (Unix)."];
        allow: Vec<(IpNet, At)> [BOTH, "everybody", "The networks of clients that the service accepts; it refuses all others. The most specific match in `allow` and `deny` decides, and `deny` wins a tie."];
        deny: Vec<(IpNet, At)> [BOTH, "nobody", "The networks of clients that the service refuses."];
        max_connections: usize [BOTH, "256", "The limit of concurrent connections of the service."];
        max_connections_per_source: usize [BOTH, "no limit", "The limit of concurrent connections from one source. The service refuses more. IPv6 sources count by /64."] .or_false();
        when_full: WhenFull [BOTH, "wait", "What happens to a client above `max_connections` or `rate`: it waits in the backlog, or the service refuses it."];
        rate: Rate [BOTH, "no limit", "The rate limit of new connections."] .or_false();
        rate_per_source: Rate [BOTH, "no limit", "The rate limit for one source. The service refuses more."] .or_false();
        refusal: Vec<u8> [BOTH, "nothing", "The text for a refused client, if it does not expect TLS: refused by a rule, a limit, a rate or a pause."];
        banner: Vec<u8> [BOTH, "nothing", "Text for the client before its program starts."];
        idle_timeout: Duration [BOTH, "`--timeout`, or never", "The server ends a connection without traffic for this time. It implies `pipe` where the system does not count the bytes of a program's socket: everywhere but on Linux, and at `unix:` addresses."] .at_least(1).or_false();
        session_timeout: Duration [BOTH, "never", "The server ends a connection after this time."] .at_least(1).or_false();
        linger_timeout: Duration [BOTH, "`--linger-timeout`, or 60s", "How long the server delivers a program's last bytes after its end."];
        kill_grace: Duration [BOTH, "5s", "How long a program may take to end after it was asked."];
        keepalive: Duration [BOTH, "60s", "After this time without traffic, TCP probes the client, six times, ten seconds apart."] .at_least(1000).or_false();
        nodelay: bool [BOTH, "true with pipes, false with the socket", "Whether connections have TCP_NODELAY: a small write then does not wait for the client's acknowledgement of the previous one. It has no effect at `unix:` addresses."];
        limits: RawLimits [BOTH, "none", "Resource limits of the program."];
        proxy_protocol: Vec<(IpNet, At)> [BOTH, "none is expected", "Trusted senders of PROXY headers. Every connection must begin with a header, which names the client; the service refuses other senders. At `unix:` addresses `socket_mode` decides."] .or_false();
        tls: RawTls [BOTH, "clear text", "TLS for the clients. It implies `pipe`."] .or_false().if_built(cfg!(feature = "tls"), "tls");
        warm: usize [BOTH, "none", "The number of programs that start ahead of clients and wait for them. More than `max_connections` have no effect. It implies `pipe`."] .at_most(1000).or_false();
        warm_header: bool [BOTH, "false", "Whether a program of `warm` first reads a PROXY v1 line, which names its client."];
    }

    /// `limits` of a service.
    RawLimits(Limits) {
        memory: u64 [LIMITS, "no limit", "Memory: of the whole tree on Windows; of each process on Unix, and of the whole tree where the system can count it (cgroups of Linux with the `memory` controller)."];
        processes: usize [LIMITS, "no limit", "Processes of the tree at once."];
        cpu_time: Duration [LIMITS, "no limit", "Processor time: of each process on Unix, of the whole tree on Windows."] .at_least(1000);
        open_files: usize [LIMITS, "no limit", "Descriptors of each process (Unix)."] .unless(|system| without(system.open_files, "this system has no limit of open files"));
    }

    /// `tls` of a service.
    RawTls(Tls) {
        certificate: PathBuf [TLS, "none: it must be given", "The server's certificate chain in PEM, its own certificate first."];
        key: PathBuf [TLS, "none: it must be given", "Its private key, in PEM."];
        client_ca: PathBuf [TLS, "none", "Authorities of client certificates, in PEM. Every client then needs a certificate."];
        crl: PathBuf [TLS, "none", "Revocation lists (CRL) in PEM, at least one for each authority that issues client certificates. The server refuses what they revoke. Needs `client_ca`."];
    }
}

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
    fn unknown_key_gets_the_nearest_key_or_its_table_as_hint() {
        let hint = |name, table| Key::find(name, table).unwrap_err().hint.unwrap_or_default();
        assert_eq!(hint("max_conections", Table::Service), "did you mean `max_connections`?");
        assert_eq!(hint("Listen", Table::Service), "did you mean `listen`?");
        assert_eq!(hint("max-connections", Table::Service), "did you mean `max_connections`?");
        assert_eq!(hint("stop_grace", Table::Service), "`stop_grace` stands in [server]");
        assert_eq!(hint("nonsense_of_mine", Table::Service), "");
    }
}
