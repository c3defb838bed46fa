//! Looks for bytes that break what `promises/native_file.rs` says.
#![no_main]

#[path = "../promises/native_file.rs"]
mod promise;
#[path = "../promises/said.rs"]
mod said;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus { if promise::check(bytes) { Corpus::Keep } else { Corpus::Reject } });
