//! The control channel: how a verb such as `--status` reaches the running server. Each connection
//! carries one request and one answer, each a line of JSON (`docs/control.md`).
//!
//! Both ends check the account of the other end (`sys::control`). The server answers administrators
//! and its own account. The client accepts a server of the system or of its own account.

pub mod client;
pub mod protocol;
pub mod server;
pub mod table;
