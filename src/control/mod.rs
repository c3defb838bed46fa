//! The control channel: how a verb such as `--status` reaches the running
//! server. One request and one answer a connection, a line of JSON each;
//! `docs/control.md` describes it for others.
//!
//! Both ends look at who is at the other one (`sys::control`): the server
//! answers administrators and its own account, the client asks nobody else's
//! server.

pub mod client;
pub mod protocol;
pub mod server;
pub mod table;
