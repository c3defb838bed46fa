//! Looks for bytes that break what `promises/classic_file.rs` says.
#![no_main]

#[path = "../promises/classic_file.rs"]
mod promise;
#[path = "../promises/said.rs"]
mod said;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| promise::check(bytes));
