//! The built program reads native files: one run reports every error with its position, and a file
//! without errors is served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::path::Path;

#[cfg(feature = "tls")]
use testkit::tls::Authority;
use testkit::{Builder, Client, Finished, free_port, probe_path, run};

fn check(files: &[(&str, &str)]) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    run(&["--check", "--cfgfile", folder.path().join(files[0].0).to_str().unwrap()])
}

fn said<'a>(text: &'a str, place: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.split_once(&format!("{place}: ")));
    found.unwrap_or_else(|| panic!("nothing at {place}:\n{text}")).1
}

#[test]
fn a_check_tells_the_name_that_a_program_receives() {
    let service = |argv0: &str| {
        let program = probe_path();
        format!(
            "[service.a]\nlisten = '127.0.0.1:7777'\ncommand = ['{}']\nuser = 'none'\nargv0 = {argv0}\n",
            program.display()
        )
    };
    let finished = check(&[("w.toml", &service("'other'"))]);
    assert!(finished.output.contains(" called other, as "), "{}{}", finished.output, finished.errors);
    let finished = check(&[("w.toml", &service("''"))]);
    assert_eq!(said(&finished.errors, "w.toml:5:9"), "this is empty");
}

const BROKEN: &str = "[server]\n\
    stop_grace = 10\n\
    [defaults]\n\
    max_conections = 5\n\
    [service.a]\n\
    listen = 'localhost:80'\n\
    command = 5\n\
    idle = '5 minutes'\n\
    session_timeout = '5 minutes'\n\
    [service.b]\n\
    listen = 8080\n\
    command = 'cmd'\n\
    allow = ['10.0.0.0/8']\n\
    deny = ['10.0.0.0/8', 'example.org']\n\
    [service.c]\n\
    listen = ['127.0.0.1:8080']\n\
    command = \"c:\\temp\\new.exe\"\n\
    user = 'x'\n\
    password = 'hunter2\n\
    [service.d]\n\
    command = 'cmd'\n\
    stdio = 'socket'\n\
    warm = 4\n";

#[test]
fn broken_native_file_reports_each_error_with_its_position() {
    let finished = check(&[("w.toml", BROKEN)]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    for (place, message) in [
        ("w.toml:2:14", "a time has a unit"),
        ("w.toml:4:1", "there is no key `…`"),
        ("w.toml:6:10", "`…` is not an address"),
        ("w.toml:7:11", "`command` is a string or an array of strings; this is an integer"),
        ("w.toml:8:1", "there is no key `…`"),
        ("w.toml:9:19", "`…` is not a time"),
        ("w.toml:13:10", "allowing … has no effect"),
        ("w.toml:14:23", "`…` is not a network"),
        ("w.toml:16:11", "the service `b` listens on … by … already, in line 11"),
        ("w.toml:17:11", "this holds the control character"),
        ("w.toml:22:9", "`warm`, in line 23, implies `stdio = \"pipe\"`"),
    ] {
        assert!(said(&finished.errors, place).starts_with(message), "{place}: {}", finished.errors);
    }
    for hint in ["did you mean `max_connections`?", "use single quotes", "host names are not looked up"] {
        assert!(finished.errors.contains(hint), "{hint}: {}", finished.errors);
    }
    assert!(finished.errors.contains("w.toml:19:"), "{}", finished.errors);
    // In a file that does not parse, the extent of the password is unknown, so the report hides all
    // values.
    assert!(finished.errors.contains("6 | listen = …\n  |          ^\n"), "{}", finished.errors);
    for value in ["hunter2", "localhost", "minutes", "8080", "example.org", "new.exe"] {
        assert!(!finished.errors.contains(value), "{value}: {}", finished.errors);
    }
}

/// Root's server refuses the file. For another user `--check` warns that root's server will refuse
/// it.
#[test]
fn a_missing_user_is_said_at_the_header_of_its_service() {
    let text = "[service.a]\nlisten = 7001\ncommand = 'cmd'\nuser = 'none'\n\
        [service.b]\nlisten = 7002\ncommand = 'cmd'\n";
    let finished = check(&[("w.toml", text)]);
    let report = finished.output.clone() + &finished.errors;
    let told = said(&report, "w.toml:5:10");
    assert!(told.contains("the service `b` has no `user`"), "{report}");
    let line = report.lines().position(|line| line.ends_with("[service.b]")).unwrap();
    assert!(report.lines().nth(line + 1).unwrap().ends_with("         ^"), "{report}");
    assert!(report.contains("user = \"ACCOUNT\"") && report.contains("user = \"none\""), "{report}");
    assert!(!report.contains("the service `a` has no `user`"), "{report}");
    let refused = testkit::has_all_rights();
    assert_eq!(finished.code, Some(if refused { 78 } else { 0 }), "{report}");
    assert_eq!(told.starts_with("warning: "), !refused, "{report}");
}

#[test]
fn root_server_refuses_to_start_without_a_user() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    let text =
        format!("[service.a]\nlisten = {port}\ncommand = ['{}', 'say', 'hi']\n", probe_path().display());
    std::fs::write(&path, text).unwrap();
    let builder = Builder::new(&[]).arguments(&["--cfgfile", path.to_str().unwrap()]);
    if testkit::has_all_rights() {
        let finished = builder.launch().finish();
        assert_eq!(finished.code, Some(78), "{}", finished.errors);
        assert!(finished.errors.contains("the service `a` has no `user`"), "{}", finished.errors);
    } else {
        let _daemon = builder.start();
        assert_eq!(Client::connect(port).read_text(), "hi");
    }
}

/// The server may run as root even if the user of `--check` is not root.
#[cfg(unix)]
#[test]
fn check_by_an_ordinary_user_warns_of_a_missing_user() {
    let folder = tempfile::tempdir().unwrap();
    let (server, config) = (folder.path().join("wininetd"), folder.path().join("w.toml"));
    testkit::copy_program(&testkit::wininetd(), &server);
    std::fs::write(&config, "[service.a]\nlisten = 7001\ncommand = 'sh'\n").unwrap();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    let mut command = if testkit::has_all_rights() {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=27182", "--regid=27182", "--clear-groups"]).arg(&server);
        command
    } else {
        std::process::Command::new(&server)
    };
    let check = |command: &mut std::process::Command| {
        let output = command.args(["--check", "--cfgfile"]).arg(&config).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, report) = check(&mut command);
    assert_eq!(code, Some(0), "{report}");
    let expected = "w.toml:1:10: warning: the service `a` has no `user`; a server of root refuses that\n";
    assert!(report.contains(expected), "{report}");
    assert_eq!(check(command.arg("--strict")).0, Some(78));
}

#[test]
fn run_refuses_a_missing_user_as_the_server_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    let text = format!("[service.a]\nlisten = 7001\ncommand = ['{}', 'say', 'hi']\n", probe_path().display());
    std::fs::write(&path, text).unwrap();
    let finished = run(&["--run", "a", "--cfgfile", path.to_str().unwrap()]);
    let expected = if testkit::has_all_rights() { (Some(78), "") } else { (Some(0), "hi") };
    assert_eq!((finished.code, &*finished.output), expected, "{}", finished.errors);
}

#[test]
fn errors_of_included_files_name_their_file() {
    let service = "[service.a]\nlisten = 7001\ncommand = 'cmd'\n";
    let finished = check(&[
        ("w.toml", &format!("include = ['conf.d/*.toml', 'gone.toml']\n{service}")),
        ("conf.d/one.toml", service),
        ("conf.d/two.toml", "[service.two]\nlisten = 7001\ncommand = 'cmd'\n[defaults]\n"),
    ]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    for (place, message) in [
        ("w.toml:1:29", ""),
        ("one.toml:1:10", "the service `a` stands at "),
        ("two.toml:2:10", "the service `a` listens on 0.0.0.0:7001 already, at "),
        ("two.toml:4:2", "`defaults` belongs in the file that includes the others"),
    ] {
        assert!(said(&finished.errors, place).starts_with(message), "{place}: {}", finished.errors);
    }
    assert!(finished.errors.contains("w.toml:2:10"), "{}", finished.errors);
}

#[test]
fn empty_included_file_is_an_error() {
    let finished = check(&[("w.toml", "include = ['conf.d/*.toml']\n"), ("conf.d/a.toml", "")]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    let said = said(&finished.errors, "w.toml:1:12");
    assert!(said.contains("a.toml: this file is empty"), "{said}");
    let finished = check(&[("w.toml", "include = ['conf.d/*.toml']\n"), ("conf.d/a.toml", "# none\n")]);
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
}

#[test]
fn a_leading_zero_in_an_address_is_an_error_with_its_place() {
    let text = "[service.a]\n\
        listen = ['127.0.0.1:07001', '127.0.0.01:7002']\n\
        command = 'x'\n\
        allow = ['010.0.0.0/8', '2001:0db8::/32']\n\
        deny = ['10.0.0.0/08']\n\
        proxy_protocol = ['192.0.2.07']\n\
        user = 'none'\n";
    let finished = check(&[("w.toml", text)]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    for (place, caret, plain) in [
        ("2:11", "^^^^^^^^^^^^^^^^^", "127.0.0.1:7001"),
        ("2:30", "^^^^^^^^^^^^^^^^^", "127.0.0.1:7002"),
        ("4:10", "^^^^^^^^^^^^^", "10.0.0.0/8"),
        ("5:9", "^^^^^^^^^^^^^", "10.0.0.0/8"),
        ("6:19", "^^^^^^^^^^^^", "192.0.2.7"),
    ] {
        let said = said(&finished.errors, &format!("w.toml:{place}"));
        assert!(said.contains("leading zero"), "{said}");
        let behind = finished.errors.split_once(said).unwrap().1;
        let lines: Vec<&str> =
            behind.lines().skip(3).take(3).map(|line| line.trim_matches([' ', '|'])).collect();
        let hint = format!("= hint: write \"{plain}\"");
        assert_eq!(lines, [caret, "", &*hint], "{behind}");
    }
    assert!(finished.errors.contains("5 errors"), "{}", finished.errors);
}

#[test]
fn missing_user_or_program_is_reported_in_its_own_file() {
    let finished = check(&[
        ("w.toml", "include = 'conf.d/*.toml'\n"),
        (
            "conf.d/a.toml",
            "[service.a]\nlisten = 7001\ncommand = ['no-such-program', 'x']\nuser = 'nosuchuser'\npassword = 'hunter2'\n",
        ),
    ]);
    assert_eq!(finished.code, Some(0), "{}", finished.errors);
    let output = &finished.output;
    assert!(said(output, "a.toml:3:11").starts_with("warning: "), "{output}");
    assert!(said(output, "a.toml:4:8").starts_with("warning: "), "{output}");
    assert!(!output.contains("hunter2"), "{output}");
}

#[test]
fn a_program_that_needs_a_socket_and_gets_pipes_is_a_warning() {
    let text = |stdio: &str| {
        let command = "command = ['vsftpd', 'vsftpd.conf']";
        format!("[service.ftp]\nlisten = 7001\n{command}\nstdio = '{stdio}'\nuser = 'none'\n")
    };
    let output = &check(&[("w.toml", &text("pipe"))]).output;
    assert!(
        output.contains("w.toml:3:11: warning: vsftpd needs a socket, and gets pipes here: it asks "),
        "{output}"
    );
    assert!(
        output.contains(
            "hint: write `stdio = \"socket\"` (or `--stdio socket`) without keys that imply `pipe`"
        ),
        "{output}"
    );
    let output = &check(&[("w.toml", &text("socket"))]).output;
    assert!(!output.contains("needs a socket"), "{output}");
}

#[test]
fn a_runtime_that_fails_on_a_windows_socket_is_a_warning_there() {
    let text = |stdio: &str| {
        format!(
            "[service.a]\nlisten = 7001\nuser = 'none'\ncommand = ['node', 'tool.js']\nstdio = '{stdio}'\n"
        )
    };
    let output = &check(&[("w.toml", &text("socket"))]).output;
    let warning = "w.toml:4:11: warning: node cannot use a socket as its standard streams on Windows";
    assert_eq!(output.contains(warning), cfg!(windows), "{output}");
    assert_eq!(output.contains("`--stdio pipe` for a classic one"), cfg!(windows), "{output}");
    assert!(!check(&[("w.toml", &text("pipe"))]).output.contains("cannot use a socket"));
}

#[cfg(feature = "tls")]
#[test]
fn unreadable_tls_files_are_reported_at_the_tls_key() {
    let text = "[service.a]\nlisten = 7001\ncommand = 'cmd'\n\
        tls = { certificate = 'no.pem', key = '.', client_ca = 'w.toml' }\nuser = 'none'\n";
    let output = &check(&[("w.toml", text)]).output;
    let said: Vec<_> = output
        .lines()
        .filter_map(|line| line.split_once("w.toml:4:7: warning: "))
        .map(|(_, what)| what)
        .collect();
    assert_eq!(said.len(), 3, "{output}");
    assert!(
        said[0].starts_with("`certificate`: ") && said[0].contains("no.pem cannot be read: "),
        "{output}"
    );
    assert!(said[1].starts_with("`key`: "), "{output}");
    assert!(said[2].ends_with("w.toml holds no certificate"), "{output}");
}

#[cfg(feature = "tls")]
#[test]
fn faults_of_all_tls_files_are_reported_at_once() {
    let output = of_tls(&[("cert.pem", ""), ("key.pem", ""), ("ca.pem", "secret")]);
    for part in ["cert.pem is empty", "key.pem is empty", "ca.pem holds no certificate"] {
        assert!(output.contains(part), "{output}");
    }
    let strangers = Authority::new().server("localhost").key;
    let output = of_tls(&[("key.pem", &strangers), ("ca.pem", "secret")]);
    for part in ["key.pem holds a private key that does not match the ", "ca.pem holds no certificate"] {
        assert!(output.contains(part), "{output}");
    }
}

/// The file named as the key is a certificate, so its mode is no finding.
#[cfg(feature = "tls")]
#[test]
fn a_certificate_and_a_key_in_each_others_place_are_recognized() {
    let pair = Authority::new().server("localhost");
    let output = of_tls(&[("cert.pem", &pair.key), ("key.pem", &pair.certificate), ("ca.pem", "secret")]);
    assert!(output.contains("certificate and key seem to be swapped"), "{output}");
    assert!(output.contains("ca.pem holds no certificate"), "{output}");
    assert!(!output.contains("-----BEGIN PRIVATE KEY-----"), "{output}");
    // On Windows, access to the real key depends on its folder.
    for wrong in ["read the key", "corrects that"] {
        assert!(cfg!(windows) || !output.contains(wrong), "{output}");
    }
}

/// The findings of `--check` for good TLS files with these changes. All users can read the file
/// that is named as the key.
#[cfg(feature = "tls")]
fn of_tls(changed: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path()).server("localhost").write(folder.path());
    for (name, text) in changed {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let text = "[service.a]\nlisten = 7001\ncommand = 'cmd'\n\
        tls = { certificate = 'cert.pem', key = 'key.pem', client_ca = 'ca.pem' }\nuser = 'none'\n";
    std::fs::write(folder.path().join("w.toml"), text).unwrap();
    #[cfg(unix)]
    for (name, mode) in [("cert.pem", 0o600), ("key.pem", 0o644)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(folder.path().join(name), mode).unwrap();
    }
    run(&["--check", "--cfgfile", folder.path().join("w.toml").to_str().unwrap()]).output
}

#[cfg(all(unix, feature = "tls"))]
#[test]
fn world_readable_key_is_reported_with_a_fix() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let text = "[defaults]\ntls = { certificate = 'c.pem', key = 'k.pem' }\n\
        [service.a]\nlisten = 7001\ncommand = 'cmd'\nuser = 'none'\n";
    for (name, text) in [("w.toml", text), ("c.pem", ""), ("k.pem", "")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let (config, key) = (folder.path().join("w.toml"), folder.path().join("k.pem"));
    for (mode, open) in [(0o644, true), (0o640, false)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = run(&["--check", "--cfgfile", config.to_str().unwrap()]).output;
        assert_eq!(output.contains("w.toml:2:7: warning: everybody can read the key "), open, "{output}");
        let command = format!("`chmod o-r '{}'` corrects that", key.display());
        assert_eq!(output.contains(&command), open, "{output}");
    }
}

/// A user who can replace the certificate and its key can impersonate the server. A user who can
/// replace the authority can impersonate any client.
#[cfg(all(unix, feature = "tls"))]
#[test]
fn world_writable_tls_files_are_reported() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("pem");
    std::fs::create_dir(&pem).unwrap();
    let text = "[service.a]\nlisten = 7001\ncommand = 'cmd'\n\
        tls = { certificate = 'pem/c.pem', key = 'pem/k.pem', client_ca = 'pem/ca.pem', crl = 'pem/r.pem' }\nuser = 'none'\n";
    std::fs::write(folder.path().join("w.toml"), text).unwrap();
    let files = ["c.pem", "k.pem", "ca.pem", "r.pem"].map(|name| pem.join(name));
    for file in &files {
        std::fs::write(file, "").unwrap();
    }
    let config = folder.path().join("w.toml");
    let said = || run(&["--check", "--cfgfile", config.to_str().unwrap()]).output;
    assert!(!said().contains("everybody can change"), "{}", said());
    for path in files.into_iter().chain([pem]) {
        let before = std::fs::metadata(&path).unwrap().permissions();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        let output = said();
        let expected = format!("w.toml:4:7: warning: everybody can change {},", path.display());
        assert!(output.contains(&expected), "{output}");
        std::fs::set_permissions(&path, before).unwrap();
    }
}

#[cfg(feature = "tls")]
#[test]
fn check_shows_tls_pipes_and_proxy_protocol_per_service() {
    let service = |name: &str, port: u16, keys: &str| {
        format!("[service.{name}]\nlisten = '127.0.0.1:{port}'\ncommand = 'cmd'\nuser = 'none'\n{keys}\n")
    };
    let tls = |more: &str| format!("tls = {{ certificate = 'c', key = 'k'{more} }}");
    let text = service("a", 7001, "stdio = 'socket'")
        + &service("b", 7002, "stdio = 'pipe'\nenabled = false")
        + &service("c", 7003, &format!("{}\nwarm = 4\nwarm_header = true", tls("")))
        + &service("d", 7004, &tls(", client_ca = 'ca'"))
        + &service("e", 7005, "stdio = 'socket'\nproxy_protocol = ['192.0.2.0/24', '127.0.0.1']");
    let finished = check(&[("w.toml", &text)]);
    for line in [
        "on 127.0.0.1:7001\n",
        "on 127.0.0.1:7002, through pipes, not enabled\n",
        "on 127.0.0.1:7003, by TLS, through pipes, 4 warm with a header\n",
        "on 127.0.0.1:7004, by TLS with certificates of clients, through pipes\n",
        "on 127.0.0.1:7005, behind proxies at 192.0.2.0/24 127.0.0.1/32\n",
    ] {
        assert!(finished.output.replace('\r', "").contains(line), "{}{}", finished.output, finished.errors);
    }
}

#[test]
fn world_writable_include_folder_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("conf.d");
    std::fs::create_dir(&inside).unwrap();
    let path = folder.path().join("w.toml");
    std::fs::write(&path, "include = 'conf.d/*.toml'\n").unwrap();
    if !open_to_everybody(&inside) {
        return;
    }
    let finished = run(&["--check", "--cfgfile", path.to_str().unwrap()]);
    let text = finished.output + &finished.errors;
    assert!(text.contains("everybody can change the files in the folder"), "{text}");
}

#[cfg(unix)]
fn open_to_everybody(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    true
}

/// A test of access lists needs tools of Windows.
#[cfg(not(unix))]
fn open_to_everybody(_: &Path) -> bool {
    false
}

#[test]
fn services_of_a_native_file_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let (line, array) = (free_port(), free_port());
    let probe = probe_path();
    let text = format!(
        "[service.line]\nlisten = {line}\ncommand = '\"{0}\" say \"a b\"'\n\
         [service.array]\nlisten = '127.0.0.1:{array}'\ncommand = ['{0}', 'arguments', 'a b', '', 'c\"d\\']\n\
         [service.off]\nenabled = false\nlisten = {line}\ncommand = '{0}'\n",
        probe.display()
    );
    let path = folder.path().join("w.toml");
    std::fs::write(&path, testkit::as_the_server(&text)).unwrap();
    let _daemon = Builder::new(&[]).arguments(&["--cfgfile", path.to_str().unwrap()]).start();
    assert_eq!(Client::connect(line).read_text(), "a b");
    assert_eq!(Client::connect(array).read_text(), "arguments\na b\n\nc\"d\\");
}

/// The server would restart a warm program that exits by itself again and again. On Windows only
/// `--check` looks for such programs.
#[cfg(unix)]
#[test]
fn warm_example_programs_read_their_clients_input() {
    let example = include_str!("../examples/native.toml");
    let tables = example.split_inclusive("\n\n").filter(|table| table.contains("\nwarm = "));
    let tables: Vec<_> = tables.collect();
    assert!(!tables.is_empty());
    for table in tables {
        let port = free_port();
        let (before, rest) = table.split_once("127.0.0.1:").unwrap();
        let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let _daemon = Builder::native(&format!("{before}127.0.0.1:{port}{rest}")).start();
        let mut client = Client::connect(port);
        assert_eq!(client.send(b"hello\n").half_close().read_text(), "hello\n", "{table}");
    }
}

#[test]
fn the_example_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/native.toml");
    let finished = run(&["--check", "--cfgfile", path.to_str().unwrap()]);
    assert!(
        finished.output.contains("greeting: ") || finished.errors.contains("can change"),
        "{}",
        finished.errors
    );
}

/// A named pipe in place of a file: a process that opens it for reading waits for a writer.
#[cfg(unix)]
mod pipes {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    use testkit::{Builder, Client, Daemon, Finished, LIMIT, free_port, run_with_input, wininetd};

    use super::said;

    fn pipe(path: &Path) {
        let made = Command::new("mkfifo").arg(path).status();
        assert!(made.is_ok_and(|status| status.success()));
    }

    fn run(arguments: &[&str]) -> Finished {
        let seconds = LIMIT.as_secs().to_string();
        let output = Command::new("timeout").arg(seconds).arg(wininetd()).args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let finished = Finished {
            code: output.status.code(),
            output: text(&output.stdout),
            errors: text(&output.stderr),
        };
        assert_ne!(finished.code, Some(124), "it waits for a pipe");
        finished
    }

    fn reload(daemon: &Daemon) -> Finished {
        run(&["--control", &daemon.control(), "--reload"])
    }

    #[cfg(feature = "tls")]
    #[test]
    fn check_does_not_block_on_a_pipe_as_tls_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.toml");
        let all =
            [("certificate", "cert.pem"), ("key", "key.pem"), ("client_ca", "ca.pem"), ("crl", "crl.pem")];
        for (name, file) in all {
            pipe(&folder.path().join(file));
            let files = ["certificate", "key", "client_ca", "crl"]
                .map(|other| format!("{other} = '{}'", if other == name { file } else { "w.toml" }));
            let tls = files.join(", ");
            std::fs::write(
                &path,
                format!("[service.a]\nlisten = 7001\ncommand = 'cmd'\ntls = {{ {tls} }}\nuser = 'none'\n"),
            )
            .unwrap();
            let output = run(&["--check", "--cfgfile", path.to_str().unwrap()]).output;
            let file = folder.path().join(file);
            let fault = format!("`{name}`: {} cannot be read: this is not a regular file", file.display());
            assert!(output.contains(&format!("w.toml:4:7: warning: {fault}\n")), "{output}");
        }
    }

    #[test]
    fn check_does_not_block_on_a_pipe_as_program() {
        let folder = tempfile::tempdir().unwrap();
        let (path, program) = (folder.path().join("w.toml"), folder.path().join("program"));
        pipe(&program);
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&program, folder.path().join("link")).unwrap();
        for name in ["program", "link"] {
            let command = folder.path().join(name);
            let text =
                format!("[service.a]\nlisten = 7001\ncommand = '{}'\nuser = 'none'\n", command.display());
            std::fs::write(&path, text).unwrap();
            let finished = run(&["--check", "--cfgfile", path.to_str().unwrap()]);
            assert_eq!(finished.code, Some(0), "{}", finished.errors);
            let fault = format!("warning: {} is not a regular file", command.display());
            assert_eq!(said(&finished.output, "w.toml:3:11"), fault);
        }
    }

    #[test]
    fn reload_does_not_block_on_a_pipe_and_the_next_succeeds() {
        let port = free_port();
        let says = |text: &str| format!("[service.a]\nlisten = {port}\ncommand = ['@', 'say', '{text}']\n");
        let daemon = Builder::native(&says("before")).start();
        pipe(&daemon.file("included.toml"));
        daemon.rewrite(&("include = 'included.toml'\n".to_owned() + &says("never")));
        let refused = reload(&daemon);
        assert_eq!(refused.code, Some(78), "{}", refused.errors);
        let fault = said(&refused.errors, "wininetd.toml:1:11");
        assert!(fault.ends_with("included.toml: this is not a regular file"), "{}", refused.errors);
        let file = daemon.file("wininetd.toml");
        std::fs::remove_file(&file).unwrap();
        pipe(&file);
        let refused = reload(&daemon);
        assert_eq!(refused.code, Some(66), "{}", refused.errors);
        assert!(refused.errors.contains("this is not a regular file"), "{}", refused.errors);
        assert_eq!(Client::connect(port).read_text(), "before");
        daemon.rewrite(&says("after"));
        assert_eq!(reload(&daemon).code, Some(0));
        assert_eq!(Client::connect(port).read_text(), "after");
    }

    #[test]
    fn file_named_on_the_command_line_may_be_a_pipe() {
        for verb in [&["--check", "--cfgfile"][..], &["--explain", "192.0.2.1", "--cfgfile"], &["--convert"]]
        {
            let finished = run_with_input(&[verb, &["/dev/stdin"]].concat(), "7001 none cat\n");
            assert_eq!(finished.code, Some(0), "{verb:?}: {}", finished.errors);
            assert!(finished.output.contains("7001"), "{verb:?}: {}", finished.output);
        }
    }

    #[test]
    fn reload_of_an_empty_pipe_keeps_the_services() {
        let port = free_port();
        let builder = Builder::new(&[]);
        let file = builder.folder().join("wininetd.conf");
        std::fs::remove_file(&file).unwrap();
        pipe(&file);
        let line = format!("{port} none {}\n", testkit::probe("say yes"));
        let writer = std::thread::spawn(move || std::fs::write(file, line));
        let daemon = builder.start();
        writer.join().unwrap().unwrap();
        assert_eq!(reload(&daemon).code, Some(66));
        assert_eq!(Client::connect(port).read_text(), "yes");
    }
}
