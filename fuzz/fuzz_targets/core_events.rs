//! Looks for bytes that break what `promises/core_events.rs` says.
#![no_main]

#[path = "../promises/core_events.rs"]
mod promise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| promise::check(bytes));
