//! Looks for bytes that break what `promises/proxy_header.rs` says.
#![no_main]

#[path = "../promises/proxy_header.rs"]
mod promise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| promise::check(bytes));
