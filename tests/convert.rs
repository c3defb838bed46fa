//! `--convert` writes a native file in valid TOML, reports what it left out, and never guesses the
//! form of its input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Finished, run};

fn convert(text: &str, arguments: &[&str]) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.conf");
    std::fs::write(&path, text).unwrap();
    run(&[&["--convert", path.to_str().unwrap()], arguments].concat())
}

fn table(text: &str) -> toml::Table {
    text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Removes the folder from the file's paths in this text.
fn without_folder(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.find("old.conf") {
        Some(at) => &word[at..],
        None => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

const INETD: &str = "\
# name type protocol wait user program arguments
9079 stream tcp4 nowait.30 nobody:users /usr/bin/who who -H
#<off># 127.0.0.1:9080 stream tcp nowait daemon /usr/bin/uptime uptime
9069 dgram udp wait nobody /usr/sbin/tftpd tftpd /srv
";

const NATIVE: &str = r#"
[server]
on_stop = "leave" # inetd leaves its programs alone when it stops

[defaults]
stdio = "socket" # the connection itself
stderr = "client" # inetd makes no difference
leftovers = "leave" # inetd leaves alone what a program leaves behind
directory = "/"
max_connections = 4096 # inetd has no bound; this one is high enough for any use
rate = "256/m" # as inetd's -R, but only what is over it waits; inetd closes the service for ten minutes
when_full = "wait"

[service.9079]
listen = ["0.0.0.0:9079"]
command = ["/usr/bin/who", "-H"]
user = "nobody"
group = "users"
rate = "30/m"

[service.9080]
enabled = false
listen = ["127.0.0.1:9080"]
command = ["/usr/bin/uptime"]
user = "daemon"

# old.conf:4:6: not carried over: only streams are served, no datagrams
# 9069 dgram udp wait nobody /usr/sbin/tftpd tftpd /srv
"#;

/// On Windows there are no groups, an account needs a password, and no session outlives the server.
fn native_of_windows() -> String {
    let password = |user: &str, place: &str| {
        format!(
            "# old.conf:{place}: {user} needs a password here: store it with `wininetd --set-password {user}`\n"
        )
    };
    NATIVE[NATIVE.find("\n[defaults]").unwrap()..]
        .replace("leftovers = \"leave\" # inetd leaves alone what a program leaves behind\n", "")
        .replace("[service.9079]", &format!("{}[service.9079]", password("nobody", "2:28")))
        .replace("[service.9080]", &format!("{}[service.9080]", password("daemon", "3:42")))
        .replace(
            "user = \"nobody\"\ngroup = \"users\"\nrate = \"30/m\"\n",
            "user = \"nobody\"\npassword = '{stored}'\n\
            rate = \"30/m\"\nunix = { group = \"users\" }\n",
        )
        .replace("user = \"daemon\"\n", "user = \"daemon\"\npassword = '{stored}'\n")
}

#[test]
fn an_inetd_conf_becomes_this_native_file() {
    let finished = convert(INETD, &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    let text = without_folder(&finished.output);
    let native = if cfg!(windows) { native_of_windows() } else { NATIVE.to_owned() };
    let begins = native.lines().nth(1).unwrap();
    assert_eq!(&text[text.find(&format!("\n{begins}")).unwrap()..], native);
    assert_eq!(table(&finished.output)["service"].as_table().unwrap().len(), 2);
    assert!(finished.errors.contains("old.conf:4:6: warning: not carried over"), "{}", finished.errors);
    assert!(finished.errors.contains("^^^^^"), "{}", finished.errors);
}

#[test]
fn a_classic_file_keeps_what_the_options_beside_it_say() {
    let finished = convert("9080 none  prog 'a b'\n", &["--timeout", "30", "--bind", "127.0.0.1"]);
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    let native = table(&finished.output);
    assert_eq!(native["defaults"]["idle_timeout"].as_str(), Some("30s"));
    // An idle timeout implies pipes on systems whose kernel does not count bytes.
    let stdio = if cfg!(target_os = "linux") { "socket" } else { "pipe" };
    assert_eq!(native["defaults"]["stdio"].as_str(), Some(stdio));
    let service = &native["service"]["9080"];
    assert_eq!(service["command"].as_str(), Some("prog 'a b'"));
    assert_eq!(service["listen"][0].as_str(), Some("127.0.0.1:9080"));
}

#[test]
fn an_xinetd_conf_becomes_a_native_file() {
    let text = "defaults\n{\n\tonly_from = 10.0.0.0\n}\nservice x\n{\n\tport = 9080\n\tsocket_type = stream\n\t\
        wait = no\n\tuser = nobody\n\tserver = /usr/bin/who\n\taccess_times = 8:00-17:00\n}\n";
    let finished = convert(text, &[]);
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    let leftovers = table(&finished.output)["defaults"].get("leftovers").cloned();
    assert_eq!(leftovers, (!cfg!(windows)).then(|| "leave".into()));
    let service = &table(&finished.output)["service"]["x"];
    assert_eq!(service["allow"][0].as_str(), Some("10.0.0.0/8"));
    assert_eq!(service["enabled"].as_bool(), Some(false));
    assert!(finished.errors.contains("old.conf:12:"), "{}", finished.errors);
}

const HOSTILE: [&str; 2] = [
    "79 stream tcp nowait root /bin/busybox cat FILE\n79 stream tcp6 nowait root /bin/busybox cat FILE\n\
     127.0.0.1:79 stream tcp nowait root /bin/sh -sh\n80 stream tcp nowait none /f f\n\
     81 stream tcp nowait a:b /f f a\0b 'c \"d\n82 stream tcp nowait \u{1} /f f\n/run/x/ stream unix nowait root /f f\n\
     ::ffff:127.0.0.1:83 stream tcp nowait root /f f\n",
    "defaults\n{\n  only_from = 10.0.0.0 2001:db8::/32\n}\nservice a\n{\n  port = 79\n  socket_type = stream\n\
     wait = no\n  user = nobody\n  group = users\n  server = /f\n  env = CLIENT_IP=x A=b A=\0\n\
     passenv = REMOTE_HOST\n  rlimit_files = 99999999999\n  instances = 3 # three\n}\n}\n\
     service _b\n{\n  port = 79\n  socket_type = stream\n  wait = no\n  user = 0\n  server = /f\n  flags = IPv4\n}\n",
];

#[test]
fn files_converted_from_hostile_input_pass_check() {
    for text in HOSTILE {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.toml");
        let finished = convert(text, &[]);
        assert_eq!(finished.code, Some(0), "{}", finished.errors);
        std::fs::write(&path, &finished.output).unwrap();
        let checked = run(&["--check", "--cfgfile", path.to_str().unwrap()]);
        assert_eq!(checked.code, Some(0), "{}\n{}", checked.errors, finished.output);
    }
}

#[test]
fn comment_after_an_xinetd_value_gets_one_warning() {
    let finished = convert(HOSTILE[1], &[]);
    let told: Vec<_> = finished.errors.lines().filter(|line| line.contains("no comments")).collect();
    assert_eq!(told.len(), 1, "{}", finished.errors);
    assert!(told[0].contains("old.conf:16:17: warning: xinetd has no comments after a value"), "{told:?}");
}

#[test]
fn tcp_beside_tcp6_serves_clients_of_both_families() {
    let finished = convert(HOSTILE[0], &[]);
    let native = table(&finished.output);
    let listen = |name: &str| native["service"][name]["listen"].as_array().unwrap().clone();
    assert_eq!(listen("79"), [toml::Value::from("0.0.0.0:79")], "{}", finished.output);
    assert_eq!(listen("79-2"), [toml::Value::from("[::]:79")]);
    assert!(
        native["service"]["79"].get("enabled").is_none()
            && native["service"]["79-2"].get("enabled").is_none()
    );
}

#[test]
fn the_applet_of_busybox_stays_and_another_name_is_kept() {
    let finished = convert(HOSTILE[0], &[]);
    let native = table(&finished.output);
    let command = native["service"]["79"]["command"].as_array().unwrap();
    let words: Vec<_> = command.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words, ["/bin/busybox", "cat", "FILE"]);
    assert_eq!(native["service"]["79-3"]["argv0"].as_str(), Some("-sh"));
}

#[test]
fn an_address_with_a_leading_zero_is_not_carried_over() {
    let block = |line: &str| {
        format!("service a\n{{\nsocket_type = stream\nport = 7001\nwait = no\nserver = /x\n{line}\n}}\n")
    };
    for (text, plain) in [
        (block("only_from = 010.0.0.0/8"), "10.0.0.0/8"),
        (block("bind = 127.0.0.01"), "127.0.0.1"),
        ("127.0.0.01:7001 stream tcp nowait nobody /x x\n".to_owned(), "127.0.0.1"),
    ] {
        let finished = convert(&text, &[]);
        assert!(finished.errors.contains(&format!("write {plain} if that is meant")), "{}", finished.errors);
        let table = table(&finished.output);
        let service = table.get("service").and_then(|services| services.get("a"));
        assert!(
            service.is_none_or(|service| service["enabled"].as_bool() == Some(false)),
            "{}",
            finished.output
        );
    }
}

#[test]
fn file_of_unknown_or_mixed_format_is_refused() {
    for text in ["[service.x]\nlisten = 80\n", "80 none prog\n81 stream tcp nowait root /x x\n", ""] {
        let finished = convert(text, &[]);
        assert_eq!(finished.code, Some(78), "{}", finished.errors);
        assert!(finished.output.is_empty());
        assert!(finished.errors.contains("PORT USER:PASS CMDLINE"), "{}", finished.errors);
        assert!(finished.errors.contains("nothing is converted"), "{}", finished.errors);
    }
    assert_eq!(run(&["--convert", "no-such-file"]).code, Some(66));
}

#[test]
fn the_errors_of_a_classic_file_come_with_their_places() {
    let finished = convert("99999 none prog\n80 none\n", &[]);
    assert_eq!(finished.code, Some(78));
    for place in ["old.conf:1:1: ", "old.conf:2:4: "] {
        assert!(finished.errors.contains(place), "{}", finished.errors);
    }
}
