//! Converts an inetd.conf into the native form, one service per line.

mod dialect;
mod fields;
mod service;

use super::loadable::keep_loadable;
use super::reader::ServiceReader;
use super::settle::Winner;
use super::toml::{Document, string};
use super::world::World;
use crate::config::diagnostic::Diagnostic;
use crate::config::source::Source;
use crate::sys::CAPABILITIES;
use dialect::Dialect;
use service::InetdReader;

/// inetd's default limit of starts per minute. Above it, inetd closes the service for ten minutes.
const RATE: &str = "256/m";

pub(super) fn convert(source: &Source, world: &World, notes: &mut Vec<Diagnostic>) -> Document {
    let sources = std::slice::from_ref(source);
    let mut reader = InetdReader {
        reader: ServiceReader::new(sources, world, notes),
        dialect: Dialect::of(source, world),
        hosts: Ok(Vec::new()),
        policy: None,
    };
    let mut document = reader.reader.document("inetd", "");
    if CAPABILITIES.sessions_outlive_us {
        document.server.explain("on_stop", string("leave"), "inetd leaves its programs alone when it stops");
    }
    let rate = "as inetd's -R, but only what is over it waits; inetd closes the service for ten minutes";
    document.defaults.explain("rate", string(RATE), rate);
    document.defaults.set("when_full", string("wait"));
    for (start, line) in source.lines() {
        reader.line(start, line, &mut document.items);
    }
    reader.reader.settle(&mut document.items, Winner::Last);
    keep_loadable(&mut document, sources, notes);
    document
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::convert::account::as_here;

    fn convert_in(world: &World, text: &str) -> (String, Vec<Diagnostic>) {
        let mut notes = Vec::new();
        let source = Source::decode(Path::new("inetd.conf"), text.into());
        (convert(&source, world, &mut notes).render(), notes)
    }

    fn services(text: &str) -> String {
        let (text, _) = convert_in(&World::example(), text);
        text[text.find("when_full").unwrap()..].split_once("\n\n").unwrap_or_default().1.to_owned()
    }

    #[test]
    fn a_line_becomes_a_service_with_its_addresses_and_arguments() {
        let expected = "[service.finger]\nlisten = [\"0.0.0.0:79\"]\ncommand = [\"/bin/f\", \"-l\", 'a\\b']\n\
            user = \"nobody\"\ngroup = \"info\"\n";
        let text = services("finger stream tcp4 nowait nobody:info /bin/f f -l a\\b\n");
        assert!(text.ends_with(&as_here(expected)), "{text}");
    }

    #[test]
    fn plain_tcp_is_both_families_unless_the_file_is_freebsds() {
        assert!(services("79 stream tcp nowait root /f f\n").contains("\"0.0.0.0:79\", \"[::]:79\""));
        let freebsd = services("79 stream tcp nowait/5/60/2 root /f f\n80 stream tcp nowait root /f f\n");
        assert!(!freebsd.contains("[::]"), "{freebsd}");
        assert!(
            freebsd.contains(
                "max_connections = 5\nmax_connections_per_source = 2\nrate_per_source = \"60/m\"\n"
            )
        );
    }

    fn listens(text: &str) -> Vec<String> {
        let text = services(text);
        assert!(!text.contains("enabled = false"), "{text}");
        text.lines().filter_map(|line| line.strip_prefix("listen = ")).map(str::to_owned).collect()
    }

    #[test]
    fn tcp_beside_tcp6_is_one_family_each_in_either_order() {
        let (v4, v6) = ("[\"0.0.0.0:79\"]", "[\"[::]:79\"]");
        let line = |protocol: &str| format!("finger stream {protocol} nowait root /f f\n");
        assert_eq!(listens(&[line("tcp"), line("tcp6")].concat()), [v4, v6]);
        assert_eq!(listens(&[line("tcp6"), line("tcp")].concat()), [v6, v4]);
        assert_eq!(listens(&[line("tcp4"), line("tcp6")].concat()), [v4, v6]);
        assert_eq!(listens(&[line("tcp4"), line("tcp46")].concat()), [v4, v6]);
    }

    #[test]
    fn a_line_that_is_off_says_nothing_of_another() {
        let text = "#<off># 79 stream tcp6 nowait root /f f\n79 stream tcp nowait root /f f\n";
        assert!(services(text).contains("listen = [\"0.0.0.0:79\", \"[::]:79\"]"));
    }

    #[test]
    fn tcp6_alone_is_both_families_in_a_file_of_solaris() {
        let (both, v6) = ("[\"0.0.0.0:21\", \"[::]:21\"]", "[\"[::]:21\"]");
        let program = |program: &str| format!("ftp stream tcp6 nowait root {program} in.ftpd\n");
        let tli = "100083/1 tli rpc/ticotsord wait root /usr/dt/bin/x x\n";
        assert_eq!(listens(&program("/usr/sbin/in.ftpd")), [both]);
        assert_eq!(listens(&[tli, &program("/opt/in.ftpd")].concat()), [both]);
        assert_eq!(listens(&program("/opt/in.ftpd")), [v6]);
        assert!(services(&program("/opt/in.ftpd")).contains("tcp6 listens on IPv6 alone"));
        let beside = program("/usr/sbin/in.ftpd").replace("tcp6", "tcp");
        assert_eq!(listens(&[beside, program("/usr/sbin/in.ftpd")].concat()), ["[\"0.0.0.0:21\"]", v6]);
    }

    #[test]
    fn an_applet_and_another_name_reach_the_program() {
        let text = services("79 stream tcp4 nowait root /bin/busybox cat FILE\n");
        assert!(text.contains("command = [\"/bin/busybox\", \"cat\", \"FILE\"]\nuser"), "{text}");
        let text = services("79 stream tcp4 nowait root /bin/sh -sh -x\n");
        assert!(text.contains("command = [\"/bin/sh\", \"-x\"]\nargv0 = \"-sh\"\n"), "{text}");
    }

    #[test]
    fn a_user_named_none_is_not_the_servers_own_account() {
        for user in ["none", "None", "none:daemon"] {
            let (text, _) = convert_in(&World::example(), &format!("79 stream tcp4 nowait {user} /f f\n"));
            assert!(text.contains("not carried over") && !text.contains("[service"), "{text}");
        }
    }

    #[test]
    fn the_folder_of_tcpd_is_told_where_it_is_assumed() {
        let text = services("79 stream tcp4 nowait nobody /usr/sbin/tcpd in.fingerd\n");
        assert!(text.contains("command = [\"/usr/sbin/in.fingerd\"]"), "{text}");
        assert!(text.contains("inetd.conf:1:45: tcpd got a name without a path"), "{text}");
    }

    #[test]
    fn values_refused_by_native_files_become_comments() {
        for line in [
            "79 stream tcp4 nowait root /f f a\0b",
            "79 stream tcp4 nowait r\u{1}t /f f",
            ":u:g:1777:/run/x stream unix nowait root /f f",
            "/run/x/ stream unix nowait root /f f",
        ] {
            let (text, _) = convert_in(&World::example(), line);
            assert!(
                text.contains("# inetd.conf:1:1: not carried over: a native file cannot hold it"),
                "{text}"
            );
            assert!(!text.contains("\n[service"), "{text}");
        }
    }

    #[test]
    fn addresses_stand_before_a_name_or_on_a_line_of_their_own() {
        let text =
            services("127.0.0.1:79 stream tcp nowait root /f f\n[::1]:\n80 stream tcp nowait root /f f\n");
        assert!(text.contains("[\"127.0.0.1:79\"]") && text.contains("[\"[::1]:80\"]"), "{text}");
    }

    #[test]
    fn a_line_that_update_inetd_switched_off_stays_off() {
        let text = services("#<off># ftp\tstream\ttcp4\tnowait\troot\t/f\tf\n# just a comment\n");
        assert!(text.contains("[service.ftp]\nenabled = false\n"), "{text}");
    }

    #[test]
    fn unconvertible_line_becomes_a_comment_with_its_position() {
        let lines = [
            ("tftp dgram udp wait root /f f", 6),
            ("rusers/1-3 stream rpc/tcp nowait root /f f", 19),
            ("79 stream tcp wait root /f f", 15),
            ("echo stream tcp nowait root internal", 29),
            ("tcpmux/x stream tcp nowait root /f f", 1),
            ("nosuch stream tcp nowait root /f f", 1),
            ("apples:79 stream tcp nowait root /f f", 1),
            ("79 stream sctp nowait root /f f", 11),
            ("this is no line", 1),
        ];
        for (line, column) in lines {
            let (text, notes) = convert_in(&World::example(), line);
            assert!(text.contains(&format!("# inetd.conf:1:{column}: not carried over: ")), "{text}");
            assert!(text.ends_with(&format!("# {line}\n")), "{text}");
            assert_eq!(notes.len(), 1);
        }
    }

    #[test]
    fn of_two_lines_for_one_address_the_last_counts() {
        let text = services("79 stream tcp4 nowait root /a a\n79 stream tcp4 nowait root /b b\n");
        let (first, second) = text.split_once("[service.79-2]").unwrap();
        assert!(
            first.contains("inetd.conf:1:1: switched off") && first.contains("enabled = false"),
            "{text}"
        );
        assert!(!second.contains("enabled"), "{text}");
    }

    #[test]
    fn tcpd_gives_way_only_where_it_would_restrict_nothing() {
        let line = "79 stream tcp4 nowait nobody /usr/sbin/tcpd /opt/f -l\n";
        let text = services(line);
        assert!(text.contains("command = [\"/opt/f\", \"-l\"]") && !text.contains("enabled"), "{text}");
        let world = World { wrapper_rules: Some("/etc/hosts.deny".into()), ..World::default() };
        assert!(convert_in(&world, line).0.contains("[service.79]\nenabled = false\n"));
    }

    #[test]
    fn ipsec_and_continued_lines_disable_the_service() {
        let text = services(
            "#@ in ipsec ah/transport//require\n79 stream tcp4 nowait root /f f\n#@\n80 stream tcp4 nowait root /f f\n",
        );
        assert_eq!(text.matches("enabled = false").count(), 1, "{text}");
        assert!(services("79 stream tcp4 nowait root /f f\n   -s /safe\n").contains("enabled = false"));
    }

    #[test]
    fn a_socket_in_the_file_system_keeps_its_owner_and_mode() {
        let text =
            services(":u:g:660:/run/x stream unix nowait root /f f\n/run/y stream unix nowait root /f f\n");
        if !CAPABILITIES.unix_sockets {
            assert!(text.contains("not carried over") && !text.contains("\n[service"), "{text}");
            return;
        }
        let first = "[service.x]\nlisten = \"unix:/run/x\"\nsocket_mode = \"660\"\nsocket_user = \"u\"\nsocket_group = \"g\"\n";
        assert!(text.contains(first), "{text}");
        assert!(text.contains("listen = \"unix:/run/y\"\nsocket_mode = \"0600\""), "{text}");
    }
}
