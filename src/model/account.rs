//! The account that a program runs as.

use super::secret::Password;

/// A user name as it was typed. `sys::account` reads it by the rules of the system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserName(pub String);

impl std::fmt::Display for UserName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The identity that a service asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Whose.
    pub user: UserName,
    /// With what; never needed on Unix.
    pub password: Option<Password>,
    /// Its group in the place of the account's own, by name (Unix).
    pub group: Option<String>,
    /// Whether the account's profile is loaded (Windows).
    pub load_profile: bool,
}
