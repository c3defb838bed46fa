//! Makes the message file of the Event Log where it is needed.

#![allow(clippy::print_stdout, clippy::expect_used)] // a build script speaks and fails so

mod message_file;

use std::path::PathBuf;

const MESSAGES: &str = "resources/messages.txt";

fn main() {
    println!("cargo::rerun-if-changed={MESSAGES}");
    println!("cargo::rerun-if-changed=build");
    if std::env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return;
    }
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "msvc") {
        // What the program is linked to is loaded from System32 only. (The
        // linker of the gnu toolchain has no such switch.)
        println!("cargo::rustc-link-arg-bins=/DEPENDENTLOADFLAG:0x800");
    }
    let text = std::fs::read_to_string(MESSAGES).expect("the messages");
    let messages = message_file::parse(&text).expect("a number, a tab and a sentence in each line");
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where"));
    std::fs::write(folder.join("wininetd-events.dll"), message_file::library(&messages))
        .expect("the message file");
}
