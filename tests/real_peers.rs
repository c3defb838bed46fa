//! Real clients, proxies and language servers work with the server. The tests need Debian's
//! packages (curl, haproxy, openssl, python3) and a `ruff` at `WININETD_RUFF` (`scripts/ruff.sh`).
//! Run them by name: `cargo test --test real_peers -- --ignored`. On Windows, run
//! `scripts/windows-lab.sh real`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, free_port};

fn message(body: &str) -> Vec<u8> {
    format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn next_message(client: &mut Client) -> serde_json::Value {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.read_exact(1));
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    serde_json::from_slice(&client.read_exact(length.parse().unwrap())).unwrap()
}

fn language_server(stdio: &str) {
    let (ruff, port) = (std::env::var("WININETD_RUFF").expect("WININETD_RUFF names a ruff"), free_port());
    let text = format!(
        "[service.lint]\nlisten = '127.0.0.1:{port}'\ncommand = ['{ruff}', 'server']\nstdio = '{stdio}'\n"
    );
    let _daemon = Builder::native(&text).start();
    let mut client = Client::connect(port);
    client.send(&message(
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"processId":null,"rootUri":null,"capabilities":{}}}"#,
    ));
    let answer = next_message(&mut client);
    assert!(answer["result"]["capabilities"].is_object(), "{answer}");
    client.send(&message(r#"{"jsonrpc":"2.0","method":"initialized","params":{}}"#));
    // The client opens files while the server reports findings of others.
    let mut writer = client.another();
    let files = 200;
    let writing = std::thread::spawn(move || {
        for number in 0..files {
            let code = format!("import os\\nx = {number}\\n").repeat(50);
            writer.send(&message(&format!(
                r#"{{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{{"textDocument":{{"uri":"file:///t{number}.py","languageId":"python","version":1,"text":"{code}"}}}}}}"#
            )));
        }
    });
    let mut told = 0;
    while told < files {
        let found = next_message(&mut client);
        if found["method"] == "textDocument/publishDiagnostics" {
            assert!(!found["params"]["diagnostics"].as_array().unwrap().is_empty(), "{found}");
            told += 1;
        }
    }
    writing.join().unwrap();
    client.send(&message(r#"{"jsonrpc":"2.0","id":2,"method":"shutdown"}"#));
    while next_message(&mut client)["id"] != 2 {}
    client.send(&message(r#"{"jsonrpc":"2.0","method":"exit"}"#)).half_close();
    client.drop_until_gone();
}

#[test]
#[ignore = "needs ruff"]
fn a_language_server_tells_while_it_is_written_to_through_pipes() {
    language_server("pipe");
}

#[cfg(unix)]
#[test]
#[ignore = "needs ruff"]
fn a_language_server_tells_while_it_is_written_to_on_a_socket() {
    language_server("socket");
}

#[cfg(windows)]
#[test]
#[ignore = "needs a C program"]
fn a_program_in_c_waits_for_its_client() {
    let (program, port) = (std::env::var("WININETD_LAB_C_PROGRAM").expect("a C program"), free_port());
    let text = format!("[service.a]\nlisten = '127.0.0.1:{port}'\ncommand = ['{program}']\nwarm = 2\n");
    let daemon = Builder::native(&text).start();
    for _ in 0..4 {
        daemon.warm("a", 2);
        let mut client = Client::connect(port);
        client.send(b"hello\n").half_close();
        assert_eq!(client.read_text().replace('\r', ""), "1: hello\n");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;
    use std::process::{Child, Command, Output, Stdio};

    use testkit::tls::Authority;
    use testkit::{Builder, Client, Daemon, free_port};

    const HTTP: &str = "import os, sys\n\
        while sys.stdin.readline().strip(): pass\n\
        sys.stdout.write('HTTP/1.0 200 OK\\r\\n\\r\\n' + os.environ['CLIENT_IP'] + ' ' + os.environ['CLIENT_PORT'])";

    fn behind_a_proxy(stdio: &str) -> (u16, Daemon) {
        let port = free_port();
        let code = serde_json::to_string(HTTP).unwrap();
        let text = format!(
            "[service.web]\nlisten = '127.0.0.1:{port}'\ncommand = ['python3', '-c', {code}]\nstdio = '{stdio}'\n\
             proxy_protocol = ['127.0.0.1']\n"
        );
        (port, Builder::native(&text).start())
    }

    fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
        use std::io::Write;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    #[test]
    #[ignore = "needs curl and python3"]
    fn curl_names_itself_by_a_header() {
        for stdio in ["socket", "pipe"] {
            let (port, _daemon) = behind_a_proxy(stdio);
            let url = format!("http://127.0.0.1:{port}/");
            let format = "\n%{local_port}";
            let output = run("curl", &["-s", "--haproxy-protocol", "-w", format, &url], b"");
            let text = String::from_utf8(output.stdout).unwrap();
            let (answer, own) = text.split_once('\n').unwrap();
            assert_eq!(answer, format!("127.0.0.1 {own}"), "{stdio}");
        }
    }

    #[test]
    #[ignore = "needs curl and python3"]
    fn curl_names_itself_before_it_shakes_hands() {
        let (port, authority) = (free_port(), Authority::new());
        let code = serde_json::to_string(HTTP).unwrap();
        let builder = Builder::native(&format!(
            "[service.web]\nlisten = '127.0.0.1:{port}'\ncommand = ['python3', '-c', {code}]\n\
             proxy_protocol = ['127.0.0.1']\ntls = {{ certificate = 'cert.pem', key = 'key.pem' }}\n"
        ));
        authority.write(builder.folder()).server("localhost").write(builder.folder());
        let daemon = builder.start();
        let (ca, url) = (daemon.file("ca.pem").display().to_string(), format!("https://localhost:{port}/"));
        let arguments = ["-sS", "-4", "--haproxy-protocol", "--cacert", &ca, "-w", "\n%{local_port}", &url];
        let output = run("curl", &arguments, b"");
        let text = String::from_utf8(output.stdout).unwrap();
        let (answer, own) = text.split_once('\n').unwrap();
        assert_eq!(answer, format!("127.0.0.1 {own}"));
    }

    /// A haproxy. Dropping it ends the process.
    struct Proxy(Child);

    impl Drop for Proxy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn haproxy(folder: &Path, front: u16, back: u16, how: &str) -> Proxy {
        let file = folder.join("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             frontend f\n  bind 127.0.0.1:{front}\n  default_backend b\n\
             backend b\n  server s 127.0.0.1:{back} {how} check inter 200ms\n"
        );
        std::fs::write(&file, text).unwrap();
        let child = Command::new("haproxy").arg("-db").arg("-f").arg(&file).stderr(Stdio::null()).spawn();
        let proxy = Proxy(child.unwrap());
        let until = std::time::Instant::now() + testkit::LIMIT;
        while std::net::TcpStream::connect(("127.0.0.1", front)).is_err() {
            assert!(std::time::Instant::now() < until, "haproxy does not listen");
            std::thread::yield_now();
        }
        proxy
    }

    #[test]
    #[ignore = "needs haproxy and python3"]
    fn haproxy_names_its_clients_and_asks_after_our_health() {
        for (stdio, how) in [
            ("socket", "send-proxy"),
            ("pipe", "send-proxy"),
            ("socket", "send-proxy-v2"),
            ("pipe", "send-proxy-v2"),
            ("socket", "send-proxy-v2-ssl"),
            ("pipe", "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
        ] {
            let (folder, front) = (tempfile::tempdir().unwrap(), free_port());
            let (back, daemon) = behind_a_proxy(stdio);
            let _proxy = haproxy(folder.path(), front, back, how);
            for _ in 0..3 {
                let mut client = Client::connect(front);
                let answer = client.send(b"GET / HTTP/1.0\r\n\r\n").read_text();
                let own = client.port();
                assert!(answer.ends_with(&format!("127.0.0.1 {own}")), "{how}: {answer}");
                drop(client);
                let is_it = |event: &testkit::Value| event["client"] == format!("127.0.0.1:{own}");
                assert_eq!(daemon.event("session", is_it)["outcome"], "served");
            }
            // A health check comes from the proxy itself, so the program gets the proxy as its
            // client.
            let is_check = |event: &testkit::Value| event["client"].is_null();
            daemon.event("session", is_check);
            assert!(daemon.events().iter().all(|event| event["event"] != "service_paused"));
        }
    }

    #[test]
    #[ignore = "needs openssl"]
    fn openssl_connects_with_and_without_certificate_and_resumes() {
        let (port, open, authority) = (free_port(), free_port(), Authority::new());
        let table = |name: &str, port: u16, more: &str| {
            format!(
                "[service.{name}]\nlisten = '127.0.0.1:{port}'\ncommand = ['@', 'environment']\n\
                 tls = {{ certificate = 'cert.pem', key = 'key.pem'{more} }}\n"
            )
        };
        let builder =
            Builder::native(&(table("known", port, ", client_ca = 'ca.pem'") + &table("open", open, "")));
        let folder = builder.folder().to_owned();
        authority.write(&folder).server("localhost").write(&folder);
        let client = folder.join("client");
        std::fs::create_dir(&client).unwrap();
        authority.client("somebody").write(&client);
        let _daemon = builder.start();
        let path = |name: &str| client.join(name).display().to_string();
        let (certificate, key, session) = (path("cert.pem"), path("key.pem"), path("session"));
        let ca = folder.join("ca.pem").display().to_string();
        let ask = |port: u16, more: &[&str]| {
            let address = format!("127.0.0.1:{port}");
            let base =
                ["s_client", "-connect", &address, "-servername", "localhost", "-CAfile", &ca, "-ign_eof"];
            let output = run("openssl", &[&base[..], more].concat(), b"");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let known = ["-cert", &certificate, "-key", &key];
        for (version, shown) in [("-tls1_2", "SSL_PROTOCOL=TLSv1.2"), ("-tls1_3", "SSL_PROTOCOL=TLSv1.3")] {
            let text = ask(port, &[&known[..], &[version]].concat());
            assert!(text.contains(shown) && text.contains("SSL_PEER_CERT_SUBJECT=CN=somebody"), "{text}");
            assert!(text.contains("SSL_TLS_SNI_SERVERNAME=localhost"), "{text}");
            let text = ask(port, &[version]);
            assert!(!text.contains("SSL_PROTOCOL"), "{text}");
            assert!(ask(open, &[version]).contains(shown));
            assert!(ask(open, &[version, "-sess_out", &session]).contains("New, TLS"));
            assert!(ask(open, &[version, "-sess_in", &session]).contains("Reused, TLS"), "{version}");
        }
        let old = ask(open, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
        assert!(old.contains("(NONE)") && !old.contains("SSL_PROTOCOL"), "{old}");
    }

    #[test]
    #[ignore = "needs python3"]
    fn python_waits_for_its_client() {
        let port = free_port();
        let text = format!(
            "[service.py]\nlisten = '127.0.0.1:{port}'\nwarm = 2\nwarm_header = true\n\
             command = ['python3', '-c', 'import os; print(os.getpid(), input(), input())']\n"
        );
        let daemon = Builder::native(&text).start();
        for _ in 0..4 {
            daemon.warm("py", 2);
            let mut client = Client::connect(port);
            let answer = client.send(b"hello\n").read_text();
            let own = client.port();
            drop(client);
            let pid = daemon.record(own)["pid"].to_string();
            assert_eq!(answer, format!("{pid} PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r hello\n"));
        }
    }
}
