//! Wrong command lines get an error that says what to type. These tests stay apart from those of
//! services: under Wine, a program that asks whether a service manager started it may receive
//! another service's start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use testkit::run;

#[test]
fn two_verbs_and_unknown_options_are_refused_with_64() {
    for words in [
        &["--debug", "--check"][..],
        &["--no-such-option"],
        &["--strict"],
        &["--bind", "apples"],
        &["--timeout", "1s"],
    ] {
        let finished = run(words);
        assert_eq!(finished.code, Some(64), "{words:?}: {}", finished.errors);
        assert!(
            finished.errors.contains("--help") || finished.errors.contains("Usage"),
            "{}",
            finished.errors
        );
    }
}

#[test]
fn an_address_with_a_leading_zero_is_refused_with_64() {
    for words in [&["--check", "--bind", "010.0.0.1"][..], &["--explain", "010.0.0.1"]] {
        let finished = run(words);
        assert_eq!(finished.code, Some(64), "{words:?}: {finished:?}");
        assert!(finished.errors.contains("write 10.0.0.1"), "{}", finished.errors);
    }
}

#[test]
fn help_and_version_are_answers() {
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for verb in
        ["--install", "--remove", "--debug", "--check", "--run", "--set-password", "--grant-batch-right"]
    {
        assert!(help.output.contains(verb), "{}", help.output);
    }
    assert!(run(&["--version"]).output.starts_with("wininetd "));
}

#[cfg(windows)]
#[test]
fn started_by_hand_without_a_verb_it_says_what_to_do() {
    let finished = run(&[]);
    assert_eq!(finished.code, Some(64));
    assert!(
        finished.errors.contains("--debug") && finished.errors.contains("--install"),
        "{}",
        finished.errors
    );
}

#[cfg(unix)]
#[test]
fn windows_only_options_are_refused_on_other_systems() {
    for words in
        [&["--set-password", "u"][..], &["--grant-batch-right", "u"], &["--install", "--start", "delayed"]]
    {
        let finished = run(words);
        assert_eq!(finished.code, Some(64), "{}", finished.errors);
        assert!(finished.errors.contains("is not available on this system"), "{}", finished.errors);
    }
}
