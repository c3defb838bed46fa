//! Text that is never shown: it prints as stars, and its memory is wiped.

use std::fmt;
use std::hash::{Hash, Hasher};

use zeroize::Zeroizing;

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Copies `text`. The caller wipes its own copy: a `Source` wipes its text when dropped.
    pub fn new(text: &str) -> Secret {
        Secret(Zeroizing::new(text.to_owned()))
    }

    pub fn of(text: Zeroizing<String>) -> Secret {
        Secret(text)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// UTF-16 with a terminating zero, for the Windows logon.
    pub fn wide(&self) -> Zeroizing<Vec<u16>> {
        let mut wide = Zeroizing::new(Vec::with_capacity(self.0.len() + 1));
        wide.extend(self.0.encode_utf16().chain([0]));
        wide
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Password {
    Typed(Secret),
    /// In the system's encrypted store.
    Stored {
        /// The name under which the service is registered.
        service: std::sync::Arc<str>,
    },
}

/// A placeholder in files, for a password in the store.
pub const STORED: &str = "{stored}";

impl Password {
    pub fn parse(text: &str, service: &str) -> Password {
        // In any case: a typing error is far more likely than such a password.
        if text.eq_ignore_ascii_case(STORED) {
            Password::Stored { service: service.into() }
        } else {
            Password::Typed(Secret::new(text))
        }
    }
}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_prints_as_asterisks() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    }

    #[test]
    fn the_word_for_the_store_is_read_in_any_case() {
        let stored = Password::Stored { service: "s".into() };
        for text in ["{stored}", "{Stored}", "{STORED}"] {
            assert_eq!(Password::parse(text, "s"), stored);
        }
        for text in ["stored", "{stored} ", "{stored", ""] {
            assert_eq!(Password::parse(text, "s"), Password::Typed(Secret::new(text)));
        }
    }

    #[test]
    fn a_secret_reaches_the_system_whole() {
        assert_eq!(*Secret::new("pä").wide(), [112, 228, 0]);
    }
}
