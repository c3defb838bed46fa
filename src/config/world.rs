//! What the world says to a plan: accounts and programs, as they are now.
//! Never an error: they may heal while the server runs. Everything here may
//! touch the disk, the network or the user database, and block.

use super::diagnostic::{Diagnostic, Severity};
use super::plan::{Plan, Service};
use super::source::Source;
use crate::sys;
use crate::sys::account::Account;

/// What was found for one service.
#[derive(Debug)]
pub struct Finding {
    /// The program, as it would be started now.
    pub program: Option<sys::Program>,
    /// What somebody should look at.
    pub warnings: Vec<Diagnostic>,
}

/// Looks at every service of a plan.
pub fn examine(plan: &Plan, source: &Source) -> Vec<Finding> {
    plan.services.iter().map(|service| examine_service(service, source)).collect()
}

fn examine_service(service: &Service, source: &Source) -> Finding {
    let mut warnings = Vec::new();
    let mut warn = |range, message: String, hint: Option<String>| {
        warnings.push(Diagnostic::at(Severity::Warning, source, range, message).hint(hint));
    };
    match &service.identity {
        None => {
            if let Some(own) = sys::process::dangerous_own_identity() {
                let message =
                    format!("`none`: every client of this port runs the program with all rights of {own}");
                warn(&service.typed.identity, message, Some("name an account with fewer rights".to_owned()));
            }
        }
        Some(credentials) => {
            if let Err(error) = Account::examine(credentials) {
                let message = format!("{}; clients will be turned away until this is mended", error.cause);
                warn(&service.typed.identity, message, None);
            }
        }
    }
    let program = match service.command.program() {
        Ok(program) => {
            if let Some(warning) = &program.warning {
                warn(&service.typed.command, warning.clone(), None);
            }
            Some(program)
        }
        Err(fault) => {
            warn(&service.typed.command, fault.message, fault.hint);
            None
        }
    };
    Finding { program, warnings }
}
