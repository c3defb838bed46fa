//! The account that a program runs as.

use super::secret::Password;

/// A user name as typed. `sys::account` parses it by the system's rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserName(pub String);

impl std::fmt::Display for UserName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    pub user: UserName,
    /// Not needed on Unix.
    pub password: Option<Password>,
    /// Replaces the account's own group, by name (Unix).
    pub group: Option<String>,
    pub load_profile: bool,
}
