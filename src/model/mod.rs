//! The vocabulary of the whole program: plain types without I/O. Imports nothing.

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
