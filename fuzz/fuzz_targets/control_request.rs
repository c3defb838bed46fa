//! Looks for bytes that break what `promises/control_request.rs` says.
#![no_main]

#[path = "../promises/control_request.rs"]
mod promise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| promise::check(bytes));
