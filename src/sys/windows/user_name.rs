//! User names in the form for logons, and in one canonical form for stored passwords.

use super::names;
use crate::model::account::UserName;

/// The parts of `user`, `DOMAIN\user`, `user@domain` or a built-in account.
pub(super) struct LogonName {
    pub(super) account: String,
    pub(super) domain: Option<String>,
    /// LocalService or NetworkService: no password, and a service logon.
    pub(super) is_built_in: bool,
}

impl LogonName {
    pub(super) fn of(user: &UserName) -> LogonName {
        let text = &*user.0;
        let (domain, account) = match text.split_once('\\') {
            Some((domain, account)) => (Some(domain), account),
            // The name contains the domain, which must not be passed again.
            None if text.contains('@') => (None, text),
            None => (Some("."), text),
        };
        let system_domain =
            domain.is_some_and(|domain| domain == "." || domain.eq_ignore_ascii_case("NT AUTHORITY"));
        let built_in = ["LocalService", "NetworkService"]
            .into_iter()
            .find(|name| system_domain && name.eq_ignore_ascii_case(account));
        LogonName {
            account: built_in.unwrap_or(account).to_owned(),
            domain: built_in.map_or(domain, |_| Some("NT AUTHORITY")).map(str::to_owned),
            is_built_in: built_in.is_some(),
        }
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.account.is_empty() || self.domain.as_ref().is_some_and(String::is_empty)
    }

    pub(super) fn full(&self) -> String {
        match self.domain.as_deref() {
            // Without the computer's name the lookup could find a domain's user.
            Some(".") => format!("{}\\{}", names::of_computer().unwrap_or_default(), self.account),
            Some(domain) => format!("{domain}\\{}", self.account),
            None => self.account.clone(),
        }
    }

    /// The same text for all spellings of one account.
    pub(super) fn canonical(&self) -> String {
        let account = self.account.to_lowercase();
        match self.domain.as_deref() {
            None => account,
            Some(domain) => {
                let own =
                    domain == "." || names::of_computer().is_ok_and(|name| name.eq_ignore_ascii_case(domain));
                if own { format!(".\\{account}") } else { format!("{}\\{account}", domain.to_lowercase()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Option<String>, String) {
        let name = LogonName::of(&UserName(text.to_owned()));
        (name.domain, name.account)
    }

    #[test]
    fn users_are_read_in_their_three_forms() {
        assert_eq!(parts("davide"), (Some(".".to_owned()), "davide".to_owned()));
        assert_eq!(parts("0day"), (Some(".".to_owned()), "0day".to_owned()));
        assert_eq!(parts(r"CORP\davide"), (Some("CORP".to_owned()), "davide".to_owned()));
        assert_eq!(parts("davide@corp.example"), (None, "davide@corp.example".to_owned()));
    }
}
