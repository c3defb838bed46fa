//! Windows firewall rules, one per port, for the domain and private profiles. All of them have a
//! name that is unique to the service, by which they are found and removed.

use std::collections::BTreeSet;

use crate::model::listen::Address;
use crate::model::plan::Plan;
use crate::sys::registry::RegistryKey;
use crate::sys::tool;

/// Returns a message or an error for each port.
pub(super) fn redo(service: &str, plan: &Plan) -> Vec<Result<String, String>> {
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    let wanted = ports(plan);
    let opened = |port: u16| format!("firewall: port {port} is open to the domain and private profiles");
    if opened_by(&rules(), service, &program.to_string_lossy()).is_some_and(|ports| ports == wanted) {
        // Creating them again would close the ports for a moment at each start.
        return wanted.into_iter().map(|port| Ok(opened(port))).collect();
    }
    // Fails if there were none.
    let _ = remove(service);
    wanted
        .into_iter()
        .map(|port| {
            let arguments = format!(
                "advfirewall firewall add rule name=\"{}\" dir=in action=allow protocol=TCP localport={port} \
                 profile=domain,private program=\"{}\" description=\"wininetd, port {port}\"",
                rule_name(service),
                program.display()
            );
            netsh(&arguments).map(|()| opened(port))
        })
        .collect()
}

pub(super) fn remove(service: &str) -> Result<(), String> {
    netsh(&format!("advfirewall firewall delete rule name=\"{}\" dir=in", rule_name(service)))
}

/// From the registry, because netsh's output depends on the system's language.
fn rules() -> Vec<String> {
    const RULES: &str =
        r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules";
    let key = RegistryKey::open(RULES).ok().flatten();
    key.and_then(|key| key.texts().ok()).unwrap_or_default()
}

/// `None` if a rule is not as created here, for example if an administrator has changed it.
fn opened_by(rules: &[String], service: &str, program: &str) -> Option<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for rule in rules {
        let fields: Vec<(&str, &str)> = rule.split('|').filter_map(|field| field.split_once('=')).collect();
        let all = |name: &str| -> Vec<&str> {
            fields.iter().filter(|(field, _)| *field == name).map(|(_, value)| *value).collect()
        };
        if all("Name") != [rule_name(service)] {
            continue;
        }
        let mut profiles = all("Profile");
        profiles.sort_unstable();
        let as_made = all("Action") == ["Allow"]
            && all("Active") == ["TRUE"]
            && all("Dir") == ["In"]
            && all("Protocol") == ["6"]
            && profiles == ["Domain", "Private"]
            && all("App").iter().all(|app| app.eq_ignore_ascii_case(program))
            // Any other field narrows the rule.
            && fields.iter().all(|(name, _)| KNOWN_FIELDS.contains(name));
        match all("LPort")[..] {
            [port] if as_made && !all("App").is_empty() => {
                ports.insert(port.parse().ok()?);
            }
            _ => return None,
        }
    }
    Some(ports)
}

const KNOWN_FIELDS: [&str; 9] =
    ["Name", "Action", "Active", "Dir", "Protocol", "Profile", "App", "LPort", "Desc"];

fn rule_name(service: &str) -> String {
    format!("wininetd service {service}")
}

/// The ports that other hosts can reach. Loopback needs no rule.
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

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = r"C:\Program Files\wininetd\wininetd.exe";

    fn rule(port: u16, service: &str) -> String {
        format!(
            "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|Profile=Domain|Profile=Private|LPort={port}|\
             App={PROGRAM}|Name=wininetd service {service}|Desc=wininetd, port {port}|"
        )
    }

    #[test]
    fn rules_that_are_as_they_were_made_stay() {
        let rules = [rule(7, "web"), rule(80, "web"), rule(9, "other")];
        assert_eq!(opened_by(&rules, "web", &PROGRAM.to_uppercase()), Some(BTreeSet::from([7, 80])));
        assert_eq!(opened_by(&rules, "none", PROGRAM), Some(BTreeSet::new()));
    }

    #[test]
    fn rules_that_somebody_has_changed_are_made_anew() {
        for (was, is) in [
            ("Active=TRUE", "Active=FALSE"),
            ("Action=Allow", "Action=Block"),
            ("Profile=Private", "Profile=Public"),
            ("Profile=Private|", ""),
            ("Protocol=6", "Protocol=17"),
            ("LPort=7|", "LPort=7|LPort=8|"),
            ("LPort=7|", "LPort=7|RA4=LocalSubnet|"),
            ("LPort=7|", ""),
            (r"C:\Program Files", r"D:\Program Files"),
        ] {
            let changed = rule(7, "web").replacen(was, is, 1);
            assert_eq!(opened_by(&[changed], "web", PROGRAM), None, "{is}");
        }
    }
}
