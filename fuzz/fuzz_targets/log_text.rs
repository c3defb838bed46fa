//! Looks for bytes that break what `promises/log_text.rs` says.
#![no_main]

#[path = "../promises/log_text.rs"]
mod promise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| promise::check(bytes));
