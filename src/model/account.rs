//! The account that a program runs as.

use super::secret::Password;
use crate::sys::account::UserName;

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
