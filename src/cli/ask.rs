//! The verbs that ask the running server and show its answer.

use std::net::IpAddr;
use std::time::Duration;

use crate::cli::options::Options;
use crate::config;
use crate::config::defaults::Defaults;
use crate::config::error::Error;
use crate::config::missing_user::MissingUser;
use crate::config::trust::Strictness;
use crate::control::client::{self, PATIENCE, RELOAD_PATIENCE};
use crate::control::protocol::{Explanation, Reply, Request, Verdict};
use crate::control::table;
use crate::core::access;
use crate::core::explain::behind_proxy;
use crate::host::output::answer;
use crate::log::escaped;
use crate::model::exit_code::Exit;
use crate::model::peer::Peer;
use crate::model::plan::Service;

pub(super) fn reload(options: &Options) -> Result<Exit, Error> {
    match ask(options, &Request::Reload, RELOAD_PATIENCE)? {
        Reply::Reloaded { message, exit } => {
            answer(&(harmless(&message) + "\n"))?;
            Ok(if exit == 0 { Exit::Ok } else { Exit::of_refusal(exit) })
        }
        _ => Err(unexpected()),
    }
}

pub(super) fn status(options: &Options) -> Result<Exit, Error> {
    match ask(options, &Request::Status, PATIENCE)? {
        Reply::Status(status) if options.json => {
            let json = serde_json::to_string(&status)
                .map_err(|cause| Error::System { what: "writing the answer", cause: cause.into() })?;
            said(&(json + "\n"))
        }
        Reply::Status(status) => said(&table::status(&status)),
        _ => Err(unexpected()),
    }
}

pub(super) fn kill(options: &Options, session: u64) -> Result<Exit, Error> {
    match ask(options, &Request::Kill { session }, PATIENCE)? {
        Reply::Killed => said(&format!("session {session} is being terminated\n")),
        _ => Err(unexpected()),
    }
}

/// If the options name a file, reads that instead of asking a server.
pub(super) fn explain(options: &Options, address: IpAddr) -> Result<Exit, Error> {
    if options.stored.cfgfile.is_some() {
        return said(&table::explanations(&of_file(options, address)?));
    }
    match ask(options, &Request::Explain { address, service: options.service.clone() }, PATIENCE)? {
        Reply::Explained(explanations) => said(&table::explanations(&explanations)),
        _ => Err(unexpected()),
    }
}

fn of_file(options: &Options, address: IpAddr) -> Result<Vec<Explanation>, Error> {
    let path = options.stored.config_path();
    // Nothing from the file is run, so any account may be able to change it.
    let defaults =
        Defaults { missing_user: MissingUser::Accepted, ..options.stored.defaults(options.service_name()) };
    let plan = config::load(&path, &defaults, Strictness::Warn)?.plan;
    let wanted = |service: &&Service| options.service.as_ref().is_none_or(|name| *name == service.name);
    let explain = |service: &Service| {
        let decision = access::decide(&service.admit.access, address);
        let (verdict, because) = match decision.admits() {
            _ if !service.enabled => (Verdict::Refuse, "the service is not enabled".to_owned()),
            true => (Verdict::Admit, decision.to_string()),
            false => (Verdict::Refuse, decision.to_string()),
        };
        let because = behind_proxy(because, service, Peer::Inet((address, 0).into()));
        Explanation { service: service.name.clone(), verdict, because }
    };
    let found: Vec<_> = plan.services.iter().map(|service| &**service).filter(wanted).map(explain).collect();
    match &options.service {
        Some(name) if found.is_empty() => {
            let message = format!("{} has no service {name}", path.display());
            Err(Error::Refused { message, exit: Exit::NoInput })
        }
        _ => Ok(found),
    }
}

/// Sends a request. A refusal is an error.
fn ask(options: &Options, request: &Request, patience: Duration) -> Result<Reply, Error> {
    let channels = options.stored.control_paths(options.service_name());
    let Some((channel, others)) = channels.split_first() else {
        let message = "there is no control channel by default for this user (XDG_RUNTIME_DIR is not set)\n    \
                       hint: --control PATH names the server's";
        return Err(Error::Refused { message: message.to_owned(), exit: Exit::Unavailable });
    };
    match client::ask(channel, others, request, patience)? {
        Reply::Refused { message, exit } => {
            Err(Error::Refused { message: harmless(&message), exit: Exit::of_refusal(exit) })
        }
        reply => Ok(reply),
    }
}

fn said(text: &str) -> Result<Exit, Error> {
    answer(text)?;
    Ok(Exit::Ok)
}

/// Escapes the server's text, which may cite text from others.
fn harmless(message: &str) -> String {
    message.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

fn unexpected() -> Error {
    let message = "the server's answer does not match the request; does it have another version?".to_owned();
    Error::Refused { message, exit: Exit::Unavailable }
}
