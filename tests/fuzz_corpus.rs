//! The kept inputs of fuzzing (`fuzz/corpus`) hold to their promises in every test run, without a
//! fuzzing compiler.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking
#![allow(clippy::print_stdout)] // names the input that fails

#[path = "../fuzz/promises/classic_file.rs"]
mod classic_file;
#[path = "../fuzz/promises/control_request.rs"]
mod control_request;
#[path = "../fuzz/promises/core_events.rs"]
mod core_events;
#[path = "../fuzz/promises/log_text.rs"]
mod log_text;
#[path = "../fuzz/promises/native_file.rs"]
mod native_file;
#[path = "../fuzz/promises/proxy_header.rs"]
mod proxy_header;
#[path = "../fuzz/promises/said.rs"]
mod said;
#[path = "../fuzz/promises/stderr_lines.rs"]
mod stderr_lines;

use std::path::Path;

/// Checks every kept input of a target.
fn each<T>(target: &str, check: impl Fn(&[u8]) -> T) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let _ = check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn classic_file_corpus_shows_no_password() {
    each("classic_file", classic_file::check);
}

#[test]
fn control_request_corpus_parses_or_gets_an_error() {
    each("control_request", control_request::check);
}

#[test]
fn all_promises_hold_in_every_history() {
    each("core_events", core_events::check);
}

#[test]
fn log_text_corpus_stays_on_one_line() {
    each("log_text", log_text::check);
}

#[test]
fn native_file_corpus_shows_no_password() {
    each("native_file", native_file::check);
}

#[test]
fn proxy_header_corpus_is_read_to_its_last_byte() {
    each("proxy_header", proxy_header::check);
}

#[test]
fn stderr_line_corpus_is_bounded_and_chunk_independent() {
    each("stderr_lines", stderr_lines::check);
}
