//! What a service of a native file without `user` means. It depends on the
//! account of the server, which the caller of the reader knows.

/// How the reader takes a service with a `command` and without `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingUser {
    /// An error: the server runs as this account, which has all rights.
    Refused(&'static str),
    /// A warning: the server that reads the file later may run as this account.
    Warned(&'static str),
    /// The program runs as the server does.
    Accepted,
}

impl MissingUser {
    /// For a server with this identity, if it has all rights.
    pub fn of_server(all_rights: Option<&'static str>) -> MissingUser {
        all_rights.map_or(MissingUser::Accepted, MissingUser::Refused)
    }

    /// For a check by a process that may not be the server.
    pub fn of_check(self, all_rights: &'static str) -> MissingUser {
        match self {
            MissingUser::Accepted => MissingUser::Warned(all_rights),
            MissingUser::Refused(_) | MissingUser::Warned(_) => self,
        }
    }
}
