//! Tests of the conversion of an xinetd.conf.

use std::path::Path;

use super::*;
use crate::convert::account::as_here;
use crate::sys::CAPABILITIES;

fn convert_in(world: &World, text: &str) -> (String, Vec<Diagnostic>) {
    let mut notes = Vec::new();
    let source = Source::decode(Path::new("x.conf"), text.into());
    (convert(&source, world, &mut notes).unwrap().render(), notes)
}

fn service(attributes: &str) -> String {
    let base = "service finger\n{\nsocket_type = stream\nwait = no\nuser = nobody\nserver = /bin/f\n";
    let (text, _) = convert_in(&World::example(), &format!("{base}{attributes}\n}}\n"));
    text[text.find("when_full").unwrap()..].split_once("\n\n").unwrap_or_default().1.to_owned()
}

#[test]
fn a_block_becomes_a_service() {
    let text =
        service("server_args = -l a'b\ngroup = info\ninstances = 5\nper_source = UNLIMITED\ncps = 7 30");
    let expected = "[service.finger]\nlisten = [\"0.0.0.0:79\", \"[::]:79\"]\ncommand = [\"/bin/f\", \"-l\", \"a'b\"]\n\
        user = \"nobody\"\ngroup = \"info\"\nmax_connections = 5\nrate = \"7/s\"\n";
    assert!(text.ends_with(&as_here(expected)), "{text}");
}

#[test]
fn block_without_a_user_is_disabled() {
    let text = "service finger\n{\nsocket_type = stream\nwait = no\nserver = /bin/f\n}\n";
    let (text, notes) = convert_in(&World::example(), text);
    assert!(text.contains("enabled = false\n") && text.contains("user = \"none\"\n"), "{text}");
    assert!(notes.iter().any(|note| note.message.contains("no user")), "{notes:?}");
}

#[test]
fn a_group_without_a_user_leaves_the_block_a_service() {
    let text = "service finger\n{\nsocket_type = stream\nwait = no\ngroup = info\nserver = /bin/f\n}\n";
    let (text, _) = convert_in(&World::example(), text);
    assert!(text.contains("[service.finger]\nenabled = false\n"), "{text}");
    assert!(text.contains("write an account, and its group \"info\"") && !text.contains("group ="), "{text}");
}

#[test]
fn conversion_never_widens_addresses_or_families() {
    let both = "[\"0.0.0.0:79\", \"[::]:79\"]";
    for attributes in ["", "flags = IPv6", "flags = IPv4 IPv6", "flags = REUSE", "bind = ::"] {
        assert!(service(attributes).contains(both), "{attributes}");
    }
    for attributes in ["flags = IPv6\nv6only = yes", "v6only = yes", "bind = ::\nv6only = yes"] {
        assert!(service(attributes).contains("listen = [\"[::]:79\"]"), "{attributes}");
    }
    for attributes in ["flags = IPv4", "flags = IPv4\nv6only = yes", "bind = 0.0.0.0"] {
        assert!(service(attributes).contains("listen = [\"0.0.0.0:79\"]"), "{attributes}");
    }
    assert!(service("bind = 127.0.0.1\nport = 80").contains("[\"127.0.0.1:80\"]"));
    assert!(service("bind = apples please!").starts_with("# x.conf:7:1: "));
    for bind in ["apples", "10.0.0.1,10.0.0.2", "*"] {
        assert!(!service(&format!("bind = {bind}")).contains("[service"));
    }
}

#[test]
fn the_flag_nodelay_is_carried_once() {
    let text = service("flags = NODELAY nodelay IPv4");
    assert!(text.contains("\nnodelay = true\n") && !text.contains("the flag"), "{text}");
    assert_eq!(text.matches("nodelay = true").count(), 1, "{text}");
}

#[test]
fn access_is_carried_as_networks() {
    let rules = "only_from = 10.0.0.0 192.168.1.{1,2} ::1 localhost 1.2.3.4/30\nno_access = 10.1.0.0";
    let text = service(&format!("{rules}\nflags = IPv4"));
    let allow = "allow = [\"10.0.0.0/8\", \"192.168.1.1/32\", \"192.168.1.2/32\", \
        \"127.0.0.1/32\", \"1.2.3.4/30\"]";
    assert!(text.contains(allow), "{text}");
    assert!(text.contains("deny = [\"10.1.0.0/16\"]") && !text.contains("enabled"), "{text}");
    // A block without flags also has IPv6, and keeps its IPv6 rules.
    assert!(service(rules).contains("\"::1/128\", \"127.0.0.1/32\""));
}

#[test]
fn a_rule_that_no_address_matches_is_left_out_and_told() {
    let text = service("flags = IPv4\nonly_from = 10.0.0.0 2001:db8::/32");
    assert!(text.contains("# x.conf:8:1: 2001:db8::/32 in only_from is left out"), "{text}");
    assert!(text.contains("allow = [\"10.0.0.0/8\"]\n"), "{text}");

    // The other address of `localhost` is no loss, but a network is.
    let text = service("flags = IPv4\nonly_from = 2001:db8::/32 localhost");
    assert!(text.contains("# x.conf:8:1: 2001:db8::/32 in only_from is left out"), "{text}");
    assert!(!service("flags = IPv4\nonly_from = localhost").contains("left out"));
}

#[test]
fn empty_only_from_allows_no_address() {
    for attributes in ["only_from =", "only_from = host.example", "only_from =\nno_access = 10.0.0.1"] {
        assert!(service(attributes).contains("allow = []"), "{attributes}");
    }
}

#[test]
fn unconvertible_restriction_disables_the_service() {
    let restrictions = [
        "only_from = host.example",
        "no_access = .example",
        "only_from = 10.0.{1",
        "access_times = 8:00-17:00",
        "flags = IDONLY",
        "umask = 077",
        "instances = many",
        "geoip_allow = DE",
        "only_from = 10.0.0.1\nonly_from -= 10.0.0.2",
        "cps = 5",
        "flags += NODELAY",
    ];
    for attributes in restrictions {
        let text = service(attributes);
        assert!(text.contains("[service.finger]\nenabled = false\n"), "{attributes}: {text}");
        assert!(text.starts_with("# x.conf:"), "{text}");
    }
}

#[test]
fn service_without_a_stream_program_becomes_a_comment() {
    for attributes in
        ["type = INTERNAL", "type = RPC", "type = TCPMUX", "redirect = 10.0.0.1 23", "flags = SENSOR"]
    {
        let text = service(attributes);
        assert!(text.contains("not carried over") && !text.contains("[service"), "{text}");
    }
    let (text, _) = convert_in(&World::example(), "service x {\nwait = yes\nsocket_type = stream\n}\n");
    assert!(text.contains("not carried over"), "{text}");
}

#[test]
fn defaults_hold_and_lists_grow_and_shrink() {
    let defaults =
        "defaults\n{\nonly_from = 10.0.0.1\nonly_from = 10.0.0.2\ninstances = 9\ndisabled = b\n}\n";
    let block = |name: &str, more: &str| {
        format!("service {name}\n{{\nsocket_type = stream\nport = 80\nwait = no\nserver = /x\n{more}\n}}\n")
    };
    let text = [
        defaults,
        &block("a", "only_from += 10.0.0.3\nonly_from -= 10.0.0.1"),
        &block("b", "only_from = 10.0.0.4\ninstances = UNLIMITED\ninstances = 3"),
    ];
    let (text, _) = convert_in(&World::example(), &text.concat());
    assert!(text.contains("allow = [\"10.0.0.2/32\", \"10.0.0.3/32\"]\nmax_connections = 9\n"), "{text}");
    assert!(text.contains("[service.b]\nenabled = false\n"), "{text}");
    assert!(text.contains("allow = [\"10.0.0.4/32\"]\n"), "{text}");
    assert!(text.ends_with("max_connections = 4096\n"), "{text}");
}

#[test]
fn rules_of_tcp_wrappers_switch_off_what_asked_them() {
    let world = World { wrapper_rules: Some("/etc/hosts.allow".into()), ..World::default() };
    let block = |flags| {
        format!(
            "service a\n{{\nsocket_type = stream\nport = 80\nwait = no\nuser = x\nserver = /x\n{flags}\n}}\n"
        )
    };
    assert!(convert_in(&world, &block("")).0.contains("enabled = false"));
    assert!(!convert_in(&world, &block("flags = NOLIBWRAP")).0.contains("enabled = false"));
}

#[test]
fn of_two_with_one_name_or_address_the_first_counts() {
    let block = |name: &str, port: u16| {
        format!(
            "service {name}\n{{\nport = {port}\nsocket_type = stream\nwait = no\nuser = x\nserver = /x\n}}\n"
        )
    };
    let text = [block("a", 80), block("b", 80), block("a", 81), block("c", 82)].concat();
    let (text, notes) = convert_in(&World::default(), &text);
    let off: Vec<_> = text.split("[service.").filter(|part| part.contains("enabled = false")).collect();
    assert!(off.len() == 2 && off[0].starts_with("b]") && off[1].starts_with("a-2]"), "{text}");
    let off = notes.iter().find(|found| found.message.starts_with("switched off")).unwrap();
    assert!(off.headline().starts_with("x.conf:9:1: "), "{off}");
}

#[test]
fn a_block_of_each_family_on_one_port_is_two_services() {
    let block = |name: &str, flag: &str| {
        format!(
            "service {name}\n{{\nport = 80\nsocket_type = stream\nwait = no\nuser = x\nserver = /x\nflags = {flag}\n\
             only_from = 10.0.0.0 ::1\n}}\n"
        )
    };
    let (text, _) = convert_in(&World::default(), &[block("a", "IPv4"), block("b", "IPv6")].concat());
    let (first, second) = text.split_once("[service.b]").unwrap();
    assert!(first.contains("listen = [\"0.0.0.0:80\"]") && first.contains("0.0.0.0:80 is left out"));
    assert!(second.contains("listen = [\"[::]:80\"]\n"), "{text}");
    // An IPv4 rule matches no client there, and a native file refuses it.
    assert!(second.contains("allow = [\"::1/128\"]") && !text.contains("enabled"), "{text}");
}

#[test]
fn comment_after_a_value_warns_once_and_disables_the_service() {
    let block = |attributes: &str| {
        format!(
            "service finger\n{{\nsocket_type = stream\nwait = no\nuser = nobody\nserver = /bin/f\n{attributes}\n}}\n"
        )
    };
    for attribute in [
        "port = 79",
        "instances = 3",
        "only_from = 10.0.0.1",
        "no_access = ::1",
        "env = A=b",
        "passenv = A",
        "cps = 5 1",
        "umask = 022",
        "nice = 3",
        "log_type = FILE /x",
        "banner = /no",
        "group = seven",
        "disable = no",
        "bind = 127.0.0.1",
        "flags = REUSE",
        "rlimit_as = 5M",
        "log_on_failure += HOST",
        "access_times = 1:00-2:00",
        "id = x",
        "protocol = tcp",
        "v6only = no",
        "groups = yes",
        "max_load = 3",
        "per_source = 2",
        "mdns = no",
        "deny_time = 3",
        "interface = ::1",
    ] {
        let (text, notes) = convert_in(&World::example(), &block(&format!("{attribute} # five of them")));
        let told: Vec<_> = notes.iter().filter(|found| found.headline().starts_with("x.conf:7:")).collect();
        let about: Vec<_> = told.iter().filter(|found| found.message.contains("no comments")).collect();
        assert_eq!(about.len(), 1, "{attribute}: {told:?}");
        let place = format!("x.conf:7:{}: xinetd has no comments after a value", attribute.len() + 2);
        assert!(about[0].headline().starts_with(&place), "{}", about[0]);
        assert!(!told.iter().any(|found| found.message.contains("five")), "{told:?}");
        let name = attribute.split(' ').next().unwrap();
        assert_eq!(text.contains("enabled = false"), !extras::is_harmless(name), "{attribute}: {text}");
    }
}

#[test]
fn a_comment_behind_arguments_stays_arguments() {
    let text = service("server_args = -l # all");
    assert!(text.contains("command = [\"/bin/f\", \"-l\", \"#\", \"all\"]"), "{text}");
    assert!(!text.contains("enabled"), "{text}");
}

#[test]
fn a_comment_in_another_encoding_is_skipped() {
    let text = b"# caf\xe9\nservice a\n{\n  # \xff\nport = 80\nsocket_type = stream\nwait = no\nuser = x\nserver = /x\n}\n";
    let source = Source::decode(Path::new("x.conf"), text.to_vec());
    let document = convert(&source, &World::default(), &mut Vec::new()).unwrap();
    assert!(document.render().contains("[service.a]"));
}

#[test]
fn a_brace_too_many_closes_what_xinetd_skips_and_no_more() {
    let block = |name: &str, port: u16| {
        format!(
            "service {name}\n{{\nport = {port}\nsocket_type = stream\nwait = no\nuser = x\nserver = /x\n}}\n"
        )
    };
    let text = [&block("a", 80), "}\n", &block("b", 81), &block("c", 82)].concat();
    let (text, notes) = convert_in(&World::default(), &text);
    assert!(text.contains("# x.conf:9:1: this } ends no block"), "{text}");
    let off: Vec<_> = text.split("[service.").filter(|part| part.contains("enabled = false")).collect();
    assert!(off.len() == 1 && off[0].starts_with("b]"), "{text}");
    assert!(notes.iter().any(|found| found.headline().starts_with("x.conf:10:1: switched off")));
}

#[test]
fn defaults_that_xinetd_skips_do_not_hold() {
    let open = "defaults\n{\nonly_from = 0.0.0.0/0\n}\n";
    let closed = "defaults\n{\nonly_from = 10.0.0.0/8\n}\n";
    let block = "service finger\n{\nsocket_type = stream\nwait = no\nuser = x\nserver = /x\n}\n";
    let (text, notes) = convert_in(&World::example(), &["}\n", open, closed, block].concat());
    assert!(text.contains("allow = [\"10.0.0.0/8\"]\n"), "{text}");
    let headlines: Vec<_> = notes.iter().map(Diagnostic::headline).collect();
    assert!(headlines.iter().any(|line| line.starts_with("x.conf:2:1: xinetd skips these defaults")));
    assert!(!text.contains("there are some already"), "{text}");

    let (text, _) = convert_in(&World::example(), &["}\n", closed, block].concat());
    assert!(text.contains("their restrictions do not hold") && !text.contains("allow"), "{text}");
}

#[test]
fn a_later_value_that_is_not_used_still_switches_off() {
    for (attributes, why) in [
        ("instances = 5\ninstances += 3 # x", "only = works on instances"),
        ("instances = 5\ninstances -= 3", "only = works on instances"),
        ("instances = 5\ninstances = 3 # x", "a # follows a value of instances"),
        ("only_from -= # x", "a # follows a value of only_from"),
    ] {
        let text = service(attributes);
        assert!(text.contains("enabled = false\n") && text.contains(why), "{attributes}: {text}");
    }
    let text = service("instances = 5\ninstances = 3");
    assert!(text.contains("max_connections = 5\n") && !text.contains("enabled"), "{text}");
}

#[test]
fn numbers_of_accounts_become_names_or_close_the_service() {
    for (attributes, expected, off) in [
        ("user = 7", "user = \"seven\"\n", false),
        ("user = 7\ngroup = 8", "user = \"seven\"\ngroup = \"group8\"", false),
        // xinetd takes the group with the same number, not the account's own.
        ("user = 8", "user = \"eight\"\ngroup = \"group8\"", false),
        ("user = 9", "user = \"nine\"\n", true),
        ("user = 4711", "user = \"4711\"\n", true),
        ("user = seven\ngroup = 9", "group = \"9\"", true),
    ] {
        let block = format!(
            "service finger\n{{\nsocket_type = stream\nwait = no\nserver = /bin/f\n{attributes}\n}}\n"
        );
        let (text, notes) = convert_in(&World::example(), &block);
        // Windows has no groups, so they go into the `unix` table.
        let place = if CAPABILITIES.groups { expected } else { expected.split('\n').next().unwrap() };
        assert!(text.contains(place), "{attributes}: {text}");
        assert_eq!(text.contains("enabled = false"), off, "{attributes}: {text}");
        assert!(
            notes.iter().any(|found| found.headline().starts_with("x.conf:6:1: "))
                || attributes.contains("seven")
        );
    }
}

#[test]
fn a_user_named_none_is_not_the_servers_own_account() {
    let block = "service finger\n{\nsocket_type = stream\nwait = no\nserver = /bin/f\nuser = none\n}\n";
    let (text, _) = convert_in(&World::example(), block);
    assert!(text.contains("not carried over") && !text.contains("[service"), "{text}");
}

#[test]
fn variables_of_a_session_are_left_out_and_told() {
    let text = service("env = CLIENT_IP=1.2.3.4 A=b =c D=\0\npassenv = REMOTE_HOST LANG");
    assert!(text.contains("environment = { A = \"b\" }\ninherit_environment = [\"LANG\"]\n"), "{text}");
    for name in ["CLIENT_IP", "REMOTE_HOST"] {
        assert!(text.contains(&format!("the variable \"{name}\" is not carried over")), "{text}");
    }
    assert!(!text.contains("enabled"), "{text}");
}

#[test]
fn values_refused_by_native_files_become_comments() {
    let text = service("server_args = a\0b");
    assert!(text.contains("a native file cannot hold it: an argument cannot hold a NUL"), "{text}");
    assert!(text.contains("\n# command = [\"/bin/f\"") && !text.contains("\n[service"), "{text}");
}

#[test]
fn environment_and_limits_are_carried() {
    let text = service("env = A=b C=\npassenv = LANG\nrlimit_data = 2M\nrlimit_cpu = 60\nrlimit_files = 64");
    assert!(
        text.contains("environment = { A = \"b\", C = \"\" }\ninherit_environment = [\"LANG\"]\n"),
        "{text}"
    );
    let limits = "limits = { memory = \"2MiB\", cpu_time = \"60s\"";
    let expected = if CAPABILITIES.open_files {
        format!("{limits}, open_files = 64 }}\n")
    } else {
        // `open_files` goes into the `unix` table, whose `limits` replaces the other.
        format!("{limits} }}\nunix = {{ {limits}, open_files = 64 }} }}\n")
    };
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn included_files_and_folders_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    let block = |name: &str| {
        format!("service {name}\n{{\nport = 80\nsocket_type = stream\nwait = no\nuser = x\nserver = /x\n}}\n")
    };
    write("x.conf", "include more\nincludedir d\n");
    write("y.conf", "include more\ninclude y.conf\ninclude nosuch\n");
    write("more", &block("more"));
    write("d/b", &block("b"));
    write("d/a", &block("a"));
    write("d/c~", &block("c"));
    write("d/d.rpmnew", &block("d"));
    let source = Source::read(&folder.path().join("x.conf")).unwrap();
    let mut notes = Vec::new();
    let text = convert(&source, &World::default(), &mut notes).unwrap().render();
    let services: Vec<_> = text.lines().filter(|line| line.starts_with("[service.")).collect();
    assert_eq!(services, ["[service.more]", "[service.a]", "[service.b]"]);
    // A file that cannot be read may restrict all services.
    let source = Source::read(&folder.path().join("y.conf")).unwrap();
    let errors = convert(&source, &World::default(), &mut Vec::new()).err().unwrap();
    let places: Vec<_> =
        errors.iter().filter(|found| found.severity == Severity::Error).map(Diagnostic::headline).collect();
    assert!(places[0].contains("y.conf:2:9:") && places[1].contains("y.conf:3:9:"), "{places:?}");
}

#[test]
fn a_block_without_an_end_is_an_error_with_its_place() {
    let source = Source::decode(Path::new("x.conf"), b"defaults\n{\n}\nservice a\n{\nport = 80\n".to_vec());
    let errors = convert(&source, &World::default(), &mut Vec::new()).err().unwrap();
    assert!(errors[0].headline().starts_with("x.conf:4:1: "), "{}", errors[0]);
}
