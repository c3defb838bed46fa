//! Plain types that all other modules share. They do no I/O and import no other module of the
//! crate.

pub mod account;
pub mod command_line;
pub mod endings;
pub mod exit_code;
pub mod exit_status;
pub mod ids;
pub mod level;
pub mod limits;
pub mod listen;
pub mod log_format;
pub mod peer;
pub mod plan;
pub mod secret;
