//! Rules of the Windows firewall: one for each port of the file, for the
//! domain and private profiles, all named after the service in words that no
//! other rule has, so that they can be found and removed by that name.

use std::collections::BTreeSet;

use crate::config::plan::{Address, Plan};
use crate::sys::tool;

/// Makes the rules anew for a plan. What was done, or why it was not.
pub(super) fn redo(service: &str, plan: &Plan) -> Vec<Result<String, String>> {
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    // A failure says that there were none.
    let _ = remove(service);
    ports(plan)
        .into_iter()
        .map(|port| {
            let arguments = format!(
                "advfirewall firewall add rule name=\"{}\" dir=in action=allow protocol=TCP localport={port} \
                 profile=domain,private program=\"{}\" description=\"wininetd, port {port}\"",
                rule_name(service),
                program.display()
            );
            netsh(&arguments)
                .map(|()| format!("firewall: port {port} is open to the domain and private profiles"))
        })
        .collect()
}

/// Removes all rules of a service.
pub(super) fn remove(service: &str) -> Result<(), String> {
    netsh(&format!("advfirewall firewall delete rule name=\"{}\" dir=in", rule_name(service)))
}

fn rule_name(service: &str) -> String {
    format!("wininetd service {service}")
}

/// The ports that others can reach. (Loopback needs no rule.)
fn ports(plan: &Plan) -> BTreeSet<u16> {
    let port = |address: &Address| match address {
        Address::Tcp(address) if !address.ip().is_loopback() => Some(address.port()),
        Address::Tcp(_) | Address::Unix(_) => None,
    };
    plan.enabled().flat_map(|service| &service.listen).filter_map(port).collect()
}

fn netsh(arguments: &str) -> Result<(), String> {
    match tool::run("netsh.exe", arguments) {
        Ok(0) => Ok(()),
        Ok(code) => Err(format!("`netsh {arguments}` ended with {code}")),
        Err(error) => Err(format!("`netsh {arguments}`: {error}")),
    }
}
