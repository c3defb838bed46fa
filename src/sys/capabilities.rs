//! What a system can do, for messages and defaults.

use crate::model::plan::Stdio;

/// What differs between systems in what users may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// The kernel counts the bytes of a connection, so that an idle one can be
    /// found while a program has the socket.
    pub byte_counts: bool,
    /// How a connection becomes a program's streams, where a native file does
    /// not say it.
    pub native_stdio: Stdio,
    /// Input and output of one socket wait for one another, and some runtimes cannot use
    /// a socket as their standard streams.
    pub serial_sockets: bool,
    /// Who refuses a file that strangers can change, in words.
    pub refuses: &'static str,
    /// The account that has all rights.
    pub all_rights: &'static str,
    /// An account needs its password to be taken.
    pub passwords: bool,
    /// Bytes of a file that are not UTF-8 are text in the system's code page;
    /// elsewhere they are taken as they are.
    pub code_page: bool,
    /// The table of a native file that is for this system.
    pub table: &'static str,
    /// Clients may come in by sockets in the file system.
    pub unix_sockets: bool,
    /// A program may have another group than its account's own.
    pub groups: bool,
    /// Accounts have profiles that are loaded.
    pub profiles: bool,
    /// The descriptors of a program can be limited.
    pub open_files: bool,
    /// Sessions can go on when the server ends.
    pub sessions_outlive_us: bool,
    /// Processes that a program leaves behind can go on.
    pub leftovers_go_on: bool,
}
