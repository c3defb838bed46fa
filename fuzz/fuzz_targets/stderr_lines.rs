//! Looks for bytes that break what `promises/stderr_lines.rs` says.
#![no_main]

#[path = "../promises/stderr_lines.rs"]
mod promise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| promise::check(bytes));
