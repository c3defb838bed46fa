//! `--check`: reports all findings about a configuration without serving it.

use std::fmt::Write;

use crate::cli::options::Options;
use crate::config::defaults::Defaults;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::error::Error;
use crate::config::loaded::{Loaded, Spans};
use crate::config::trust::Strictness;
use crate::config::{self, world};
use crate::model::account::Credentials;
use crate::model::exit_code::Exit;
use crate::model::plan::Service;
use crate::sys::account::try_out;
use crate::sys::{CAPABILITIES, process};
use crate::tls::Keys;

pub fn check(options: &Options) -> Result<(String, Exit), Error> {
    let path = options.stored.config_path();
    // A privileged caller sees what the service would refuse.
    let strictness = if process::is_privileged() { Strictness::Refuse } else { Strictness::Warn };
    let defaults = options.stored.defaults(options.service_name());
    // The server may have more rights than this process.
    let missing_user = defaults.missing_user.of_check(CAPABILITIES.all_rights);
    let mut loaded = config::read(&path, &Defaults { missing_user, ..defaults }, strictness)?;
    let log = options.stored.judge_log(Some(&loaded), strictness.for_writing());
    let mut diagnostics = std::mem::take(&mut loaded.diagnostics);
    diagnostics.extend(log);
    let has_errors = diagnostics.iter().any(|found| found.severity == Severity::Error);
    let findings = world::examine(&loaded);
    if has_errors {
        diagnostics.extend(findings.into_iter().flat_map(|finding| finding.warnings));
        return Err(Error::Configuration { diagnostics });
    }
    let mut report = String::new();
    for (service, finding) in loaded.plan.services.iter().zip(&findings) {
        let program =
            finding.program.as_ref().map_or("not found".into(), |program| program.path.to_string_lossy());
        let user = service
            .program
            .identity
            .as_ref()
            .map_or("the server's own account".to_owned(), |identity| identity.user.to_string());
        let addresses: Vec<_> = service.listen.iter().map(ToString::to_string).collect();
        let disabled = if service.enabled { "" } else { ", not enabled" };
        let _ = writeln!(
            report,
            "{}: {program}{}, as {user}, on {}{}{disabled}",
            service.name,
            own_name(service),
            addresses.join(" "),
            manner(service)
        );
    }
    diagnostics.extend(findings.into_iter().flat_map(|finding| finding.warnings));
    diagnostics.extend(world::addresses_not_up(&loaded));
    if options.logon {
        let refused = try_accounts(&loaded);
        let _ = writeln!(report, "accounts: {} tried, {} refused", accounts(&loaded).len(), refused.len());
        diagnostics.extend(refused);
    }
    for diagnostic in &diagnostics {
        let _ = writeln!(report, "{}", options.color.shown(diagnostic, &std::io::stdout()));
    }
    let warnings = diagnostics.iter().filter(|found| found.severity == Severity::Warning).count();
    let count = loaded.plan.services.len();
    let _ = writeln!(
        report,
        "{}: {count} service{}, {warnings} warning{}",
        path.display(),
        if count == 1 { "" } else { "s" },
        if warnings == 1 { "" } else { "s" }
    );
    let exit = if options.strict && warnings > 0 { Exit::Config } else { Exit::Ok };
    Ok((report, exit))
}

fn own_name(service: &Service) -> String {
    service.program.command.own_name.as_ref().map(|name| format!(" called {name}")).unwrap_or_default()
}

fn manner(service: &Service) -> String {
    let tls = service.tls.as_ref().map(|tls| {
        let clients = if tls.client_ca.is_some() { " with certificates of clients" } else { "" };
        let until = Keys::load(tls).ok().and_then(|keys| keys.until());
        let until = until.map(|until| format!(" (the server's is valid until {until})")).unwrap_or_default();
        format!(", by TLS{clients}{until}")
    });
    let pipes = service.has_pipes().then(|| ", through pipes".to_owned());
    let warm = service.warm.map(|warm| {
        let header = if warm.header { " with a header" } else { "" };
        format!(", {} warm{header}", warm.programs)
    });
    let proxies = service.proxy_protocol.as_ref().map(|senders| {
        let senders: Vec<_> = senders.iter().map(ToString::to_string).collect();
        match senders[..] {
            [] => ", behind a proxy".to_owned(),
            _ => format!(", behind proxies at {}", senders.join(" ")),
        }
    });
    [proxies, tls, pipes, warm].into_iter().flatten().collect()
}

fn accounts(loaded: &Loaded) -> Vec<(&Credentials, &Spans)> {
    let mut found: Vec<(&Credentials, &Spans)> = Vec::new();
    for (service, spans) in loaded.services() {
        if let Some(identity) = &service.program.identity
            && !found.iter().any(|(known, _)| *known == identity)
        {
            found.push((identity, spans));
        }
    }
    found
}

/// Tries each account, as the first client of its service would.
fn try_accounts(loaded: &Loaded) -> Vec<Diagnostic> {
    let refused = |(identity, spans): (&Credentials, &Spans)| {
        Some(loaded.warning(spans, &spans.identity, try_out(identity).err()?.cause))
    };
    accounts(loaded).into_iter().filter_map(refused).collect()
}
