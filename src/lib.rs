//! A super-server: maps ports to programs.
//!
//! A client connects, a program starts, and the connection becomes the program's standard input,
//! output and error. The steps of a connection, and the directory of each step:
//!
//! ```text
//! text ► plan ──► bind ──► may_connect ► accept ► admit ──► prelude ► start ► run ► deliver ──► record
//! config/         listen/  supervisor/, which asks core/    session/, spawn/, tls/             log/
//! ```
//!
//! [`supervisor`] owns all mutable state and makes the decisions, by asking [`core`], which has
//! neither I/O nor a clock. [`session::serve`] serves a connection. [`sys`] hides the differences
//! between systems.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod convert;
pub mod core;
pub mod host;
pub mod listen;
pub mod log;
pub mod model;
pub mod session;
pub mod spawn;
pub mod supervisor;
#[allow(unsafe_code)]
pub mod sys;
pub mod tls;

use clap::Parser;
use clap::error::ErrorKind;

use cli::options::Options;
use model::exit_code::Exit;

pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Exit {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                let _ = error.print();
                return Exit::Ok;
            }
            // A stored command line may be invalid. A service has no reader of standard error.
            if !host::tell_service_manager(&error.to_string()) {
                let _ = error.print();
            }
            return Exit::Usage;
        }
    };
    match cli::run(&options) {
        Ok(exit) => exit,
        Err(error) => {
            host::output::complain(&options.color.shown(&error, &std::io::stderr()));
            error.exit()
        }
    }
}
