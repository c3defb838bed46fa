//! Builds the environments of programs.

use std::ffi::{OsStr, OsString};

use crate::config::session_variables::is_of_session;
use crate::model::ids::SessionId;
use crate::model::listen::Address;
use crate::model::peer::Peer;
use crate::model::plan::{Program, Service};
use crate::sys::account::Account;
use crate::sys::process::NEEDED_BY_PROGRAMS;
use crate::sys::text::same_name;

type Variables = Vec<(OsString, OsString)>;

/// A service manager sets these. A program that used them could act in the server's name.
const OF_SERVICE_MANAGER: [&str; 8] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "MAINPID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "CREDENTIALS_DIRECTORY",
    "RUNTIME_DIRECTORY",
];

/// Whether the client chooses the value, so that it can make a program fail.
pub fn is_set_by_client(name: &str) -> bool {
    matches!(name, "SSL_TLS_SNI_SERVERNAME" | "SSL_PEER_CERT_SUBJECT" | "SSL_PEER_CERT_HASH")
}

/// Variables that a program with an identity also inherits.
fn is_harmless(name: &str) -> bool {
    matches!(name, "PATH" | "LANG" | "TZ") || name.starts_with("LC_")
}

#[derive(Debug)]
pub struct ServerEnvironment {
    all: Variables,
    harmless: Variables,
}

impl ServerEnvironment {
    pub fn ours() -> Self {
        ServerEnvironment::from(std::env::vars_os())
    }

    fn from(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let all: Variables = variables
            .filter(|(name, _)| {
                let listed = || OF_SERVICE_MANAGER.iter().any(|listed| same_name(listed.as_ref(), name));
                let start = name.to_string_lossy().chars().take("LISTEN_".len()).collect::<String>();
                !same_name(OsStr::new("LISTEN_"), start.as_ref()) && !is_of_session(name) && !listed()
            })
            .collect();
        let harmless = all.iter().filter(|(name, _)| is_harmless(&name.to_string_lossy())).cloned().collect();
        ServerEnvironment { all, harmless }
    }

    /// Sources in rising priority: the defaults, the account, variables inherited by name, the
    /// program's own, the session's.
    pub fn with(&self, account: Option<&Account>, program: &Program, session: Variables) -> Variables {
        let account = account.map(Account::environment);
        self.merged(account, program.inherit_environment.as_deref(), &program.environment, session)
    }

    fn merged(
        &self,
        account: Option<Variables>,
        names: Option<&[OsString]>,
        own: &[(OsString, OsString)],
        session: Variables,
    ) -> Variables {
        let named = |names: &[OsString]| self.only(|name| names.iter().any(|listed| same_name(listed, name)));
        let inherited = match (account, names) {
            (None, None) => self.all.clone(),
            (None, Some(names)) => merge(self.needed(), named(names)),
            (Some(account), None) => merge(self.harmless.clone(), account),
            (Some(account), Some(names)) => merge(merge(self.harmless.clone(), account), named(names)),
        };
        // The configuration must not set variables that describe the client.
        let own = own.iter().filter(|(name, _)| !is_of_session(name)).cloned().collect();
        merge(merge(inherited, own), session)
    }

    /// Variables that every program on this system needs.
    fn needed(&self) -> Variables {
        self.only(|name| NEEDED_BY_PROGRAMS.iter().any(|needed| same_name(needed.as_ref(), name)))
    }

    fn only(&self, wanted: impl Fn(&OsStr) -> bool) -> Variables {
        self.all.iter().filter(|(name, _)| wanted(name)).cloned().collect()
    }
}

fn merge(mut variables: Variables, over: Variables) -> Variables {
    variables.retain(|(name, _)| !over.iter().any(|(other, _)| same_name(name, other)));
    variables.extend(over);
    variables
}

pub fn of_service(service: &str) -> Variables {
    vec![("WININETD_SERVICE".into(), service.into())]
}

/// The client's protocol, but not its address.
pub fn of_waiting(service: &Service) -> Variables {
    let mut variables = of_service(&service.name);
    let is_unix = service.listen.iter().all(|address| matches!(address, Address::Unix(_)));
    let protocol = if service.tls.is_some() {
        "SSL"
    } else if is_unix {
        "UNIX"
    } else {
        "TCP"
    };
    variables.push(("PROTO".into(), protocol.into()));
    variables
}

/// In the dialects of WinInetd, UCSPI, systemd and CGI. The client sets some variables in
/// `secured`: see [`is_set_by_client`].
pub fn of_session(
    service: &str,
    session: SessionId,
    client: Peer,
    local: &Address,
    connections: usize,
    secured: &[(&'static str, String)],
) -> Variables {
    let mut variables = Vec::with_capacity(16);
    let mut set = |name: &str, value: &dyn std::fmt::Display| {
        variables.push((OsString::from(name), OsString::from(value.to_string())));
    };
    match client {
        Peer::Inet(client) => {
            for name in ["CLIENT_IP", "TCPREMOTEIP", "REMOTE_ADDR", "REMOTE_HOST"] {
                set(name, &client.ip());
            }
            for name in ["CLIENT_PORT", "TCPREMOTEPORT", "REMOTE_PORT"] {
                set(name, &client.port());
            }
            set("PROTO", &"TCP");
        }
        Peer::Unix { user, process } => {
            set("PROTO", &"UNIX");
            if let Some(user) = user {
                set("UNIXREMOTEEUID", &user);
            }
            if let Some(process) = process {
                set("UNIXREMOTEPID", &process);
            }
        }
    }
    match local {
        Address::Tcp(local) => {
            set("TCPLOCALIP", &local.ip());
            set("TCPLOCALPORT", &local.port());
        }
        Address::Unix(path) => set("UNIXLOCALPATH", &path.display()),
    }
    set("TCPCONNNUM", &connections);
    set("WININETD_SERVICE", &service);
    set("WININETD_SESSION", &session.0);
    let secured = secured.iter().map(|(name, value)| ((*name).into(), value.into())).collect();
    merge(variables, secured)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(names: &[&str]) -> Variables {
        names.iter().map(|name| ((*name).into(), "old".into())).collect()
    }

    fn names(variables: &Variables) -> Vec<String> {
        variables.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn inherited_copies_of_session_and_manager_names_are_removed() {
        let inherited = ServerEnvironment::from(
            variables(&["A", "CLIENT_IP", "LISTEN_FDS", "LISTEN_X", "NOTIFY_SOCKET", "TCPREMOTEHOST"])
                .into_iter(),
        );
        assert_eq!(names(&inherited.all), ["A"]);
    }

    #[test]
    fn with_an_identity_only_harmless_variables_are_inherited() {
        let inherited =
            ServerEnvironment::from(variables(&["A", "PATH", "LC_ALL", "TZ", "LANG", "HOME"]).into_iter());
        assert_eq!(names(&inherited.harmless), ["PATH", "LC_ALL", "TZ", "LANG"]);
    }

    #[test]
    fn the_session_wins_over_what_was_there() {
        let merged = merge(variables(&["X", "Y"]), vec![("Y".into(), "new".into())]);
        assert_eq!(merged, [("X".into(), "old".into()), ("Y".into(), OsString::from("new"))]);
    }

    fn merged(account: Option<&[&str]>, inherit: Option<&[&str]>) -> Vec<String> {
        let inherited = ServerEnvironment::from(variables(&["A", "PATH", "TZ"]).into_iter());
        let inherit: Option<Vec<OsString>> =
            inherit.map(|names| names.iter().map(|&name| name.into()).collect());
        names(&inherited.merged(account.map(variables), inherit.as_deref(), &[], Vec::new()))
    }

    #[test]
    fn a_list_limits_what_a_program_without_an_identity_inherits() {
        assert_eq!(merged(None, None), ["A", "PATH", "TZ"]);
        assert_eq!(merged(None, Some(&["A", "B"])), ["A"]);
        assert_eq!(merged(None, Some(&[])), Vec::<String>::new());
    }

    #[test]
    fn a_list_adds_to_what_a_program_with_an_identity_gets() {
        assert_eq!(merged(Some(&["HOME"]), None), ["PATH", "TZ", "HOME"]);
        assert_eq!(merged(Some(&["HOME"]), Some(&["A"])), ["PATH", "TZ", "HOME", "A"]);
        assert_eq!(merged(Some(&["HOME"]), Some(&[])), ["PATH", "TZ", "HOME"]);
    }

    #[test]
    fn service_manager_variables_cannot_be_inherited_by_name() {
        let inherited = ServerEnvironment::from(variables(&["NOTIFY_SOCKET", "CLIENT_IP"]).into_iter());
        let names = ["NOTIFY_SOCKET".into(), "CLIENT_IP".into()];
        assert_eq!(inherited.merged(None, Some(&names), &[], Vec::new()), []);
    }

    #[test]
    fn file_variables_override_inherited_but_not_session_ones() {
        let inherited = ServerEnvironment::from(variables(&["A", "B"]).into_iter());
        let own: Variables =
            ["A", "CLIENT_IP", "TCPREMOTEHOST"].map(|name| (name.into(), "file".into())).into();
        let session = vec![("CLIENT_IP".into(), "session".into())];
        let expected: Variables = [("B", "old"), ("A", "file"), ("CLIENT_IP", "session")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        assert_eq!(inherited.merged(None, None, &own, session), expected);
    }

    #[test]
    fn variables_that_programs_need_are_always_inherited() {
        let needed = ServerEnvironment::from(variables(NEEDED_BY_PROGRAMS).into_iter());
        assert_eq!(names(&needed.merged(None, Some(&[]), &[], Vec::new())), NEEDED_BY_PROGRAMS);
    }

    #[test]
    fn a_zone_is_no_part_of_the_address() {
        let client =
            std::net::SocketAddr::V6(std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, 3));
        let made = of_session("s", SessionId(1), Peer::Inet(client), &client.into(), 1, &[]);
        assert_eq!(made[0], ("CLIENT_IP".into(), OsString::from("fe80::1")));
    }
}
