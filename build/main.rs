//! For Windows: the message file of the Event Log, and what the program's file
//! says of itself.

#![allow(clippy::print_stdout, clippy::expect_used)] // a build script speaks and fails so

mod about;
mod bytes;
mod message_file;
mod resources;

use std::path::PathBuf;

/// Of the table of events the numbers and sentences.
macro_rules! events {
    ($($id:literal $name:literal $level:ident $sentence:literal $variant:ident $({ $($fields:tt)* })?)*) => {
        pub const MESSAGES: &[(u32, &str)] = &[$(($id, $sentence)),*];
    };
}

#[path = "../src/log/event/table.rs"]
mod table;

fn main() {
    println!("cargo::rerun-if-changed=src/log/event/table.rs");
    println!("cargo::rerun-if-changed=build");
    if std::env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return;
    }
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where"));
    std::fs::write(folder.join("wininetd-events.dll"), message_file::library(table::MESSAGES))
        .expect("the message file");
    let about = [
        about::version(&variable("CARGO_PKG_VERSION"), &variable("CARGO_PKG_DESCRIPTION")),
        about::manifest(),
    ];
    let file = if variable("CARGO_CFG_TARGET_ENV") == "msvc" {
        // What the program is linked to is loaded from System32 only. (The
        // linker of the gnu toolchain has no such switch.)
        println!("cargo::rustc-link-arg-bins=/DEPENDENTLOADFLAG:0x800");
        let file = folder.join("about.res");
        std::fs::write(&file, resources::resource_file(&about)).expect("the resources");
        file
    } else {
        let file = folder.join("about.o");
        std::fs::write(&file, resources::object(&about, &variable("CARGO_CFG_TARGET_ARCH")))
            .expect("the resources");
        file
    };
    println!("cargo::rustc-link-arg-bins={}", file.display());
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("cargo says it")
}
