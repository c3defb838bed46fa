//! Tests of how a connection becomes streams: `stdio`, the keys that imply it, and contradictions.

use std::path::Path;
use std::time::Duration;

use super::tests::{defaults, fault, faults, service, with};
use super::*;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::model::endings::Leftovers;
use crate::model::plan::{Service, Stderr, Stdio, Tls, Warm};
use crate::sys::CAPABILITIES;

const TLS: &str = "tls = { certificate = 'c.pem', key = '/k.pem' }";

fn beside(options: &Defaults, text: &str) -> (Vec<Arc<Service>>, Vec<Diagnostic>) {
    let source = Source::decode(Path::new("/folder/w.toml"), text.as_bytes().to_vec());
    let Loaded { plan, diagnostics, .. } = read(source, options);
    (plan.services, diagnostics)
}

fn at(listen: &str, keys: &str) -> String {
    format!("[service.x]\nlisten = {listen}\ncommand = 'cmd'\n{keys}\n")
}

fn warnings(text: &str) -> Vec<String> {
    let (_, found) = beside(&defaults(), text);
    assert!(found.iter().all(|found| found.severity == Severity::Warning), "{found:?}");
    found.iter().map(|found| format!("{} | {:?}", found.headline(), found.hint)).collect()
}

#[test]
fn default_stdio_is_the_system_best_and_stderr_is_logged() {
    let found = service(&with(""));
    assert_eq!((found.program.stdio, found.program.stderr), (CAPABILITIES.native_stdio, Stderr::Log));
    assert_eq!((found.tls, found.warm, found.proxy_protocol), (None, None, None));
}

#[test]
fn streams_are_what_was_typed() {
    for (word, stdio) in [("socket", Stdio::Socket), ("pipe", Stdio::Pipe)] {
        let found = service(&with(&format!("stdio = '{word}'")));
        assert_eq!((found.program.stdio, found.has_pipes()), (stdio, stdio == Stdio::Pipe));
    }
    for (word, stderr) in [("log", Stderr::Log), ("client", Stderr::Client), ("discard", Stderr::Discard)] {
        assert_eq!(service(&with(&format!("stderr = '{word}'"))).program.stderr, stderr);
    }
    assert!(fault("stdio = 'pty'").contains("4:9: `stdio` is \"socket\" or \"pipe\""));
    assert!(fault("stderr = 'file'").contains("\"log\" or \"client\" or \"discard\""));
}

#[test]
fn stdio_option_applies_to_services_without_stdio() {
    let options = Defaults { stdio: Some(Stdio::Pipe), ..defaults() };
    assert!(beside(&options, &with("")).0[0].has_pipes());
    assert!(!beside(&options, &with("stdio = 'socket'")).0[0].has_pipes());
    let options = Defaults { stdio: Some(Stdio::Socket), ..defaults() };
    assert!(!beside(&options, &with("")).0[0].has_pipes());
    assert_eq!(beside(&options, &with("warm = 2\nstdio = 'pipe'")).1, []);
    let found = beside(&options, &with("warm = 2")).1;
    assert!(
        found[0].headline().contains("w.toml:4:8: `warm` implies pipes, and `--stdio socket`"),
        "{found:?}"
    );
}

#[test]
fn keys_that_need_pipes_imply_pipes() {
    assert_eq!(
        service(&with("warm = 1000\nmax_connections = 1000")).warm,
        Some(Warm { programs: 1000, header: false })
    );
    let found = service(&with("warm = 4\nwarm_header = true\nbanner = 'x'"));
    assert_eq!((found.has_pipes(), found.warm), (true, Some(Warm { programs: 4, header: true })));
    assert!(!service(&with("warm = false\nstdio = 'socket'")).has_pipes());
    let counted = CAPABILITIES.byte_counts;
    let found = service(&with("idle_timeout = '5s'"));
    assert_eq!(found.has_pipes(), !counted || CAPABILITIES.native_stdio == Stdio::Pipe);
    assert_eq!(found.times.idle_timeout, Some(Duration::from_secs(5)));
}

#[test]
fn stdio_socket_conflicts_with_keys_that_need_pipes() {
    let found = fault("stdio = 'socket'\nwarm = 4");
    assert!(
        found.starts_with("4:9: `warm`, in line 5, implies `stdio = \"pipe\"`: the program starts"),
        "{found}"
    );
    assert!(found.ends_with("leave `stdio` out, or `warm`"), "{found}");
    // The error names the service for which `stdio` in [defaults] is wrong.
    let shared = "[defaults]\nstdio = 'socket'\n";
    let found = faults(&(with("warm = 4") + shared));
    assert!(found[0].starts_with("6:9: `warm` of the service `x`, in line 4, implies"), "{found:?}");
    assert!(found[0].ends_with("write `stdio = \"pipe\"` in that service"), "{found:?}");
    assert!(service(&(with("warm = 4\nstdio = 'pipe'") + shared)).has_pipes());
    let found = faults(&with("stdio = 'socket'\n[defaults]\nwarm = 4"));
    assert!(found[0].starts_with("4:9: `warm`, in line 6, implies"), "{found:?}");
    assert!(!service(&with("stdio = 'socket'\nwarm = false\n[defaults]\nwarm = 4")).has_pipes());
}

#[test]
fn idle_timeout_on_a_unix_socket_implies_pipes() {
    if !CAPABILITIES.unix_sockets {
        return;
    }
    let unix = |keys: &str| at("['unix:/run/x.sock', 80]", keys);
    let found = service(&unix("idle_timeout = '5s'"));
    assert_eq!((found.has_pipes(), found.times.idle_timeout), (true, Some(Duration::from_secs(5))));
    let found = faults(&unix("idle_timeout = '5s'\nstdio = 'socket'"));
    assert!(found[0].starts_with("5:9: `idle_timeout`, in line 4, implies"), "{found:?}");
    assert!(found[0].contains("`unix:` connection"), "{found:?}");
    let options = Defaults { idle_timeout: Some(Duration::from_secs(9)), ..defaults() };
    let (services, found) = beside(&options, &unix(""));
    assert!(found.is_empty() && services[0].has_pipes(), "{found:?}");
    assert_eq!(services[0].times.idle_timeout, Some(Duration::from_secs(9)));
    let (services, found) = beside(&options, &unix("idle_timeout = false\nstdio = 'socket'"));
    assert!(found.is_empty() && !services[0].has_pipes(), "{found:?}");
    let (_, found) = beside(&options, &unix("stdio = 'socket'"));
    assert!(found[0].headline().contains("4:9: `--timeout` implies `stdio = \"pipe\"`"), "{found:?}");
}

#[test]
fn more_warm_programs_than_max_connections_is_a_warning() {
    let found = warnings(&at("7", "warm = 9\nmax_connections = 8"));
    assert!(found[0].contains("4:8: 9 programs would wait, but at most 8 clients can be"), "{found:?}");
    assert!(found[0].contains("`warm = 8` is the largest"), "{found:?}");
    assert_eq!(warnings(&at("7", "warm = 8\nmax_connections = 8")), [""; 0]);
    assert_eq!(warnings(&at("7", "warm = 257")).len(), 1);
}

#[test]
fn a_header_before_the_first_byte_is_for_programs_that_wait() {
    assert!(fault("warm_header = true").starts_with("4:15: `warm_header` has no effect without `warm`"));
    assert!(fault("warm = false\nwarm_header = true").contains("write `warm = 4`"));
    // A key in [defaults] need not apply to every service.
    service(&with("[defaults]\nwarm_header = true"));
    for wrong in ["0", "1001", "-1", "'4'", "true"] {
        let found = fault(&format!("warm = {wrong}\nwarm_header = true"));
        assert!(found.starts_with("4:8: `warm` is a whole number from 1 to 1000"), "{found}");
    }
}

#[test]
fn files_of_tls_lie_beside_the_file() {
    if !cfg!(feature = "tls") {
        let found = fault(TLS);
        assert!(found.starts_with("4:1: `tls`: this program was built without it"), "{found}");
        service(&with("tls = false"));
        return;
    }
    let found = service(&with(TLS));
    assert!(found.has_pipes());
    let folder = Path::new("/folder");
    let files = Tls { certificate: folder.join("c.pem"), key: "/k.pem".into(), client_ca: None, crl: None };
    assert_eq!(found.tls, Some(files));
    let found = service(&with(&TLS.replace(" }", ", client_ca = 'ca.pem' }")));
    assert_eq!(found.tls.unwrap().client_ca, Some(folder.join("ca.pem")));
    let found = service(&with(&TLS.replace(" }", ", client_ca = 'ca.pem', crl = 'crl.pem' }")));
    assert_eq!(found.tls.unwrap().crl, Some(folder.join("crl.pem")));
    assert_eq!(service(&with(&format!("tls = false\n[defaults]\n{TLS}"))).tls, None);
    assert!(service(&with(&format!("[defaults]\n{TLS}"))).tls.is_some());
}

#[test]
fn faulty_tls_table_is_reported_at_its_position() {
    if !cfg!(feature = "tls") {
        return;
    }
    assert!(fault("tls = { key = 'k' }").starts_with("4:7: `tls` has no `certificate` | write tls = {"));
    assert!(fault("tls = { certificate = 'c' }").starts_with("4:7: `tls` has no `key`"));
    assert_eq!(faults(&with("tls = {}")).len(), 2);
    assert!(fault("tls = true").contains("`tls` is a table, or `false` for none; this is a boolean"));
    assert!(fault("tls = { certificate = 'c', key = 5 }").starts_with("4:34: `key` is a string"));
    assert!(fault("tls = { certificate = 'c', key = '' }").starts_with("4:34: this is empty"));
    let found = &faults(&with(&TLS.replace(" }", ", kye = 'k' }")))[0];
    assert!(found.contains("there is no key `kye` in `tls` | did you mean `key`?"), "{found}");
    assert!(fault("certificate = 'c'").ends_with("`certificate` stands in `tls`"));
}

#[test]
fn a_revocation_list_needs_authorities_of_clients() {
    if !cfg!(feature = "tls") {
        return;
    }
    let found = fault("tls = { certificate = 'c', key = 'k', crl = 'r' }");
    assert!(
        found.starts_with("4:45: `crl` lists revoked client certificates, and without `client_ca`"),
        "{found}"
    );
    assert!(found.ends_with("add `client_ca = \"ca.pem\"`, or leave `crl` out"), "{found}");
}

#[test]
fn senders_of_a_header_are_networks() {
    let senders = |keys: &str| {
        let found = service(&with(keys)).proxy_protocol;
        found.map(|senders| senders.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let found = senders("proxy_protocol = ['10.0.0.0/8', '::1']").unwrap();
    assert_eq!(found, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(senders("proxy_protocol = false\n[defaults]\nproxy_protocol = ['::1']"), None);
    assert!(!service(&with("stdio = 'socket'\nproxy_protocol = ['::1']")).has_pipes());
}

#[test]
fn a_sender_that_can_never_come_is_an_error() {
    let found = fault("proxy_protocol = ['10.0.0.1', '10.0.0.1/32']");
    assert!(found.starts_with("4:31: 10.0.0.1/32 stands in this list already"), "{found}");
    assert!(fault("proxy_protocol = ['10.0.0.1/8']").contains("has bits behind its prefix"));
    assert!(fault("proxy_protocol = ['proxy']").contains("is not a network"));
    let found = fault("proxy_protocol = []");
    assert!(found.starts_with("4:18: no client could connect"), "{found}");
    let found = faults(&at("'127.0.0.1:80'", "proxy_protocol = ['::1', '127.0.0.1']"));
    assert!(found.len() == 1 && found[0].starts_with("4:19: ::1/128 never matches"), "{found:?}");
}

#[test]
fn unix_socket_senders_are_trusted_by_socket_mode() {
    if !CAPABILITIES.unix_sockets {
        return;
    }
    let unix = |keys: &str| at("'unix:/run/x.sock'", keys);
    assert_eq!(service(&unix("proxy_protocol = []")).proxy_protocol, Some(vec![]));
    let found = faults(&unix("proxy_protocol = ['10.0.0.1']"));
    assert!(
        found[0].starts_with("4:19: 10.0.0.1/32 never matches") && found[0].contains("`[]`"),
        "{found:?}"
    );
    service(&unix("[defaults]\nproxy_protocol = ['10.0.0.1']"));
    assert!(faults(&unix("proxy_protocol = []\nkeepalive = '5s'"))[0].starts_with("5:13: `keepalive`"));
}

#[test]
fn rules_are_about_the_client_that_a_header_names() {
    let proxied = "proxy_protocol = ['127.0.0.1']\ndeny = ['::1']";
    service(&at("'127.0.0.1:80'", proxied));
    assert_eq!(faults(&at("'127.0.0.1:80'", "proxy_protocol = false\ndeny = ['::1']")).len(), 1);
    let found = fault("proxy_protocol = ['127.0.0.1']\nsocket_mode = '0600'");
    assert!(
        CAPABILITIES.unix_sockets == found.contains("`socket_mode` is about `unix:` addresses"),
        "{found}"
    );
    if CAPABILITIES.unix_sockets {
        service(&at("'unix:/run/x.sock'", "proxy_protocol = []\nallow = ['10.0.0.0/8']"));
        assert_eq!(faults(&at("'unix:/run/x.sock'", "allow = ['10.0.0.0/8']")).len(), 1);
    }
}

#[test]
fn leftovers_end_unless_file_and_system_allow_them_to_stay() {
    let of = |keys: &str| service(&with(keys)).program.leftovers;
    assert_eq!(of(""), Leftovers::End);
    assert_eq!(of("leftovers = 'end'"), Leftovers::End);
    let system = |name: &str| with(&format!("[service.x.{name}]\nleftovers = 'leave'"));
    if CAPABILITIES.leftovers_go_on {
        assert_eq!(of("leftovers = 'leave'"), Leftovers::Leave);
        assert_eq!(service(&system("unix")).program.leftovers, Leftovers::Leave);
        assert_eq!(faults(&system("windows")), [""; 0]);
    } else {
        for text in [with("leftovers = 'leave'"), with("[defaults]\nleftovers = 'leave'")] {
            let found = faults(&text);
            assert!(found[0].contains("`leftovers`: what a program leaves behind ends with it"), "{found:?}");
            assert!(found[0].contains("[service.NAME.unix]"), "{found:?}");
        }
        assert_eq!(service(&system("unix")).program.leftovers, Leftovers::End);
    }
}

#[test]
fn nodelay_is_on_by_default_where_the_server_moves_the_bytes() {
    assert!(service(&with("stdio = 'pipe'")).nodelay);
    assert!(service(&with("warm = 1")).nodelay);
    assert!(!service(&with("stdio = 'socket'")).nodelay);
    assert!(!service(&with("stdio = 'pipe'\nnodelay = false")).nodelay);
    assert!(!service(&(with("stdio = 'pipe'") + "[defaults]\nnodelay = false")).nodelay);
}

#[test]
fn on_stop_leave_warns_of_sessions_that_end_anyway() {
    if !CAPABILITIES.sessions_outlive_us {
        return;
    }
    let leave = |keys: &str| warnings(&(with(keys) + "[server]\non_stop = 'leave'\n"));
    let found = leave("");
    assert!(found[0].contains("w.toml:1:10: ") && found[0].contains("SIGPIPE"), "{found:?}");
    assert!(found[0].contains("`stderr = \\\"client\\\"`"), "{found:?}");
    let found = leave("stdio = 'pipe'");
    assert!(found[0].contains("w.toml:1:10: ") && found[0].contains("they have pipes"), "{found:?}");
    assert!(found[0].contains("write `stdio = \\\"socket\\\"`"), "{found:?}");
    assert!(leave("warm = 3")[0].contains("`warm` implies pipes; without it"));
    for keys in ["stderr = 'client'", "stderr = 'discard'", "enabled = false"] {
        assert_eq!(leave(keys), [""; 0], "{keys}");
    }
    assert_eq!(warnings(&with("stdio = 'pipe'")), [""; 0]);
}
