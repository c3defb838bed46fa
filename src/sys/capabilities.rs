//! What a system can do, for messages and defaults.

use crate::model::plan::Stdio;

#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// The kernel counts the bytes of a connection, so the server can detect an idle one while a
    /// program has the socket.
    pub byte_counts: bool,
    /// The default for native files.
    pub native_stdio: Stdio,
    /// A socket serializes its reads and writes, and some runtimes cannot use a socket as their
    /// standard streams.
    pub serial_sockets: bool,
    /// Which kind of server refuses a file that others can change, in words.
    pub refuses: &'static str,
    pub all_rights: &'static str,
    /// A logon needs the account's password.
    pub passwords: bool,
    /// Text that is not UTF-8 is in the system's code page. Otherwise it is taken unchanged.
    pub code_page: bool,
    pub table: &'static str,
    pub unix_sockets: bool,
    pub groups: bool,
    pub profiles: bool,
    pub open_files: bool,
    pub sessions_outlive_us: bool,
    pub leftovers_go_on: bool,
}
