//! `--serve ADDRESS=COMMAND` serves without a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::{Builder, Client, free_port, probe, run};

#[test]
fn a_command_serves_this_computer_without_a_file() {
    let (first, second) = (free_port(), free_port());
    let daemon = Builder::without_file(&[
        "--serve",
        &format!("{first}={}", probe("line")),
        "--serve",
        &format!("127.0.0.1:{second}={}", probe("say a=b")),
    ])
    .start();
    let mut client = Client::connect(first);
    let client_port = client.port();
    assert_eq!(client.send(b"hello\n").read_text(), "hello\n");
    drop(client);
    assert_eq!(daemon.record(client_port)["service"], first.to_string());
    assert_eq!(Client::connect(second).read_text(), "a=b");
    let ready = daemon.event("ready", |_| true);
    let listen: Vec<_> =
        ready["listen"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(listen.contains(&&*format!("127.0.0.1:{first}")), "{listen:?}");
    assert!(
        listen.iter().all(|text| text.starts_with("127.0.0.1:") || text.starts_with("[::1]:")),
        "{listen:?}"
    );
    assert_eq!(daemon.stop().code, Some(0));
}

#[cfg(unix)]
#[test]
fn its_programs_start_in_the_current_directory() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let _daemon = Builder::without_file(&["--serve", &format!("{port}=pwd -P")])
        .command(|command| _ = command.current_dir(folder.path()))
        .start();
    let expected = format!("{}\n", folder.path().canonicalize().unwrap().display());
    assert_eq!(Client::connect(port).read_text(), expected);
}

#[test]
fn an_address_with_a_leading_zero_is_an_error() {
    let finished = run(&["--debug", "--serve", "0080=x", "--serve", "127.0.0.1:0080=x"]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    for words in
        ["--serve:1:1: 0080 has", "write 80\n", "--serve:2:1: 127.0.0.1:0080 has", "write 127.0.0.1:80\n"]
    {
        assert!(finished.errors.contains(words), "{}", finished.errors);
    }
}

#[test]
fn faulty_serve_option_is_reported_and_serves_nothing() {
    let finished = run(&["--debug", "--serve", "1=x", "--serve", "nowhere=x", "--serve", "[::1]:1=x"]);
    assert_eq!(finished.code, Some(78), "{}", finished.errors);
    for words in [
        "--serve:2:1: this is not an address",
        "2 | nowhere=x\n  | ^^^^^^^\n",
        "--serve:3:1: [::1]:1 already has a service",
        "2 errors",
    ] {
        assert!(finished.errors.contains(words), "{}", finished.errors);
    }
}
