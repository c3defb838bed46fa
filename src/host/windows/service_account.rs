//! The account of the service itself: its names, its password and its rights.

use windows_service::service::Service;

use super::not_permitted;
use super::registration::{LOCAL_SYSTEM, in_words};
use crate::config::error::Error;
use crate::model::exit_code::Exit;
use crate::model::plan::Plan;
use crate::model::secret::{Password, Secret};
use crate::sys::rights::{self, Right};
use crate::sys::{prompt, scm};

pub(super) struct ServiceAccount {
    pub(super) name: String,
    kind: AccountKind,
}

#[derive(PartialEq, Eq)]
enum AccountKind {
    /// LocalSystem, LocalService, NetworkService or the service's virtual account: no password.
    Keyless,
    /// A managed service account, whose password the domain manages.
    Managed,
    /// A user, whose password the service manager keeps.
    User,
}

impl ServiceAccount {
    pub(super) fn parse(text: &str, service: &str) -> Result<ServiceAccount, Error> {
        let refused = |message: String| Error::Refused { message, exit: Exit::Usage };
        let lower = text.to_lowercase();
        let bare = lower.strip_prefix("nt authority\\").unwrap_or(&lower);
        let keyless = |name: String| Ok(ServiceAccount { name, kind: AccountKind::Keyless });
        match bare {
            "" => return Err(refused("--account needs a name".to_owned())),
            "localsystem" | "system" | ".\\localsystem" => return keyless(LOCAL_SYSTEM.to_owned()),
            "localservice" | "local service" => return keyless("NT AUTHORITY\\LocalService".to_owned()),
            "networkservice" | "network service" => {
                return keyless("NT AUTHORITY\\NetworkService".to_owned());
            }
            _ => {}
        }
        if let Some(virtual_name) = lower.strip_prefix("nt service\\") {
            if virtual_name != service.to_lowercase() {
                let message = format!("the virtual account of this service is NT SERVICE\\{service}");
                return Err(refused(message));
            }
            return keyless(format!("NT SERVICE\\{service}"));
        }
        if lower.ends_with('$') && lower.contains('\\') {
            return Ok(ServiceAccount { name: text.to_owned(), kind: AccountKind::Managed });
        }
        let name = if text.contains(['\\', '@']) { text.to_owned() } else { format!(".\\{text}") };
        Ok(ServiceAccount { name, kind: AccountKind::User })
    }

    /// Asks for a user's password. Other accounts have an empty one.
    pub(super) fn password(&self) -> Result<Secret, Error> {
        match self.kind {
            AccountKind::Keyless | AccountKind::Managed => Ok(Secret::new("")),
            AccountKind::User => {
                let refused = |message: String| Error::Refused { message, exit: Exit::Usage };
                let password = prompt::password(&self.name).map_err(|error| refused(error.to_string()))?;
                if password.is_empty() {
                    // An empty pipe must not replace a valid password.
                    return Err(refused(format!(
                        "{} needs its password, typed or through a pipe",
                        self.name
                    )));
                }
                Ok(password)
            }
        }
    }

    pub(super) fn apply(&self, service: &Service, password: &Secret) -> Result<(), Error> {
        if self.kind != AccountKind::Keyless {
            // Without this right the service manager accepts the account but cannot start it.
            rights::grant(&self.name, &[Right::Service]).map_err(|cause| {
                not_permitted(&format!("letting {} log on as a service", self.name), &cause)
            })?;
        }
        scm::set_account(service, &self.name, password)
            .map_err(|cause| in_words("the service's account", windows_service::Error::Winapi(cause)))
    }
}

/// Grants the rights to start programs as other accounts, if needed. LocalSystem has them.
pub(super) fn grant_for_identities(account: &str, plan: &Plan) -> Option<Result<String, String>> {
    let needed = plan.services.iter().any(|service| service.program.identity.is_some());
    if !needed || account.eq_ignore_ascii_case(LOCAL_SYSTEM) {
        return None;
    }
    if ["nt authority\\localservice", "nt authority\\networkservice"]
        .contains(&account.to_lowercase().as_str())
    {
        // Every service of that account would get these rights, and with them the system.
        return Some(Err(format!(
            "{account} is shared by many services, so it does not get the rights to start programs as other accounts; use --account \"NT SERVICE\\NAME\" or LocalSystem"
        )));
    }
    Some(match rights::grant(account, &rights::FOR_OTHER_ACCOUNTS) {
        Ok(()) => Ok(format!(
            "{account} may start programs as other accounts, which makes it as powerful as an administrator; \
             it loads their profiles only if it is one"
        )),
        Err(cause) => Err(format!("letting {account} start programs as other accounts: {cause}")),
    })
}

pub(super) fn cannot_open_passwords(account: &str, plan: &Plan) -> Option<String> {
    let stored = |service: &std::sync::Arc<crate::model::plan::Service>| {
        let password = service.program.identity.as_ref().and_then(|identity| identity.password.as_ref());
        matches!(password, Some(Password::Stored { .. }))
    };
    let wanted = !account.eq_ignore_ascii_case(LOCAL_SYSTEM) && plan.services.iter().any(stored);
    wanted.then(|| {
        format!("the file says {{stored}}, but only LocalSystem and administrators can open stored passwords, and the service runs as {account}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, bool)> {
        ServiceAccount::parse(text, "web")
            .ok()
            .map(|account| (account.name, account.kind == AccountKind::User))
    }

    #[test]
    fn accounts_are_read_in_the_forms_that_administrators_use() {
        for (text, name, is_user) in [
            ("LocalSystem", "LocalSystem", false),
            ("system", "LocalSystem", false),
            ("localservice", r"NT AUTHORITY\LocalService", false),
            (r"NT Authority\Network Service", r"NT AUTHORITY\NetworkService", false),
            (r"nt service\WEB", r"NT SERVICE\web", false),
            (r"CORP\svc$", r"CORP\svc$", false),
            ("davide", r".\davide", true),
            (r"CORP\davide", r"CORP\davide", true),
            ("davide@corp.example", "davide@corp.example", true),
        ] {
            assert_eq!(parsed(text), Some((name.to_owned(), is_user)), "{text}");
        }
    }

    #[test]
    fn another_services_virtual_account_is_refused() {
        assert_eq!(parsed(r"NT SERVICE\other"), None);
        assert_eq!(parsed(""), None);
    }
}
