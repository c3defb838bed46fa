//! The Windows implementation, for Windows 10, Server 2016 and later.

pub mod account;
mod bind;
pub mod child;
pub mod command;
mod command_hints;
pub mod connection;
pub mod control;
mod counts;
mod directories;
mod environment;
pub mod event_log;
mod handle;
mod image;
mod job;
pub mod limits;
mod listener;
mod listeners;
mod logon;
mod names;
pub mod net;
pub mod passwords;
pub mod paths;
pub mod pipe;
pub mod process;
mod profile;
pub mod prompt;
mod quote;
pub mod registry;
pub mod rights;
pub mod scm;
mod security;
pub mod service;
mod socket;
pub mod spawn;
pub mod stop;
mod stream;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod text;
mod token;
pub mod tool;
pub mod trust;
mod user_name;
mod waiter;

use super::Capabilities;
use crate::model::plan::Stdio;

pub const CAPABILITIES: Capabilities = Capabilities {
    byte_counts: false,
    native_stdio: Stdio::Pipe,
    serial_sockets: true,
    refuses: "a service",
    all_rights: "LocalSystem",
    passwords: true,
    code_page: true,
    table: "windows",
    unix_sockets: false,
    groups: false,
    profiles: true,
    open_files: false,
    sessions_outlive_us: false,
    leftovers_go_on: false,
};
