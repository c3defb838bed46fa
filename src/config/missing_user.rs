//! What a native service without `user` means. That depends on the server's account, which the
//! caller knows.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingUser {
    /// An error: the server runs as this account, which has all rights.
    Refused(&'static str),
    /// A warning: the server that reads the file later may run as this account.
    Warned(&'static str),
    Accepted,
}

impl MissingUser {
    /// For a server of the account `all_rights`; `None` is any account with fewer rights.
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
