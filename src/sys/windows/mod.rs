//! Windows 10, Server 2016 and later.

pub mod account;
pub mod child;
pub mod command;
mod environment;
mod handle;
mod image;
mod names;
pub mod net;
pub mod paths;
pub mod process;
pub mod spawn;
pub mod stop;
pub mod text;

use super::Capabilities;

/// What Windows can do.
pub const CAPABILITIES: Capabilities = Capabilities { byte_counts: false, passwords: true, code_page: true };
