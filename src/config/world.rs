//! Checks the accounts, programs and files that a plan names, as they are now. They yield warnings,
//! never errors, because they can heal while the server runs. Every function may block on the disk,
//! the network or the user database.

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Severity};
use super::loaded::{Loaded, Spans};
use super::{needs_pipes, needs_socket};
use crate::model::listen::Address;
use crate::model::plan::{Service, Tls};
use crate::sys::account::Account;
use crate::sys::command::Command;
use crate::sys::files::open_regular;
use crate::sys::{self, Others, ProgramFault, trust};
use crate::tls::Keys;

#[derive(Debug)]
pub struct Finding {
    /// `None` if it cannot be found now.
    pub program: Option<sys::FoundProgram>,
    pub warnings: Vec<Diagnostic>,
}

pub fn examine(loaded: &Loaded) -> Vec<Finding> {
    loaded.services().map(|(service, spans)| examine_service(loaded, service, spans)).collect()
}

/// Warns of addresses that no interface has now. At a start the listeners report them.
pub fn addresses_not_up(loaded: &Loaded) -> Vec<Diagnostic> {
    let mut addresses = std::collections::BTreeMap::new();
    for (service, spans) in loaded.services().filter(|(service, _)| service.enabled) {
        for address in &service.listen {
            if let Address::Tcp(address) = address {
                addresses.entry(address.ip()).or_insert(spans.source);
            }
        }
    }
    let not_up = |address: &std::net::IpAddr| {
        std::net::UdpSocket::bind((*address, 0))
            .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
    };
    let warn = |(address, source): (std::net::IpAddr, usize)| {
        let message = format!(
            "no interface has the address {address} now; the server tries its ports again until one has"
        );
        Diagnostic::of_file(Severity::Warning, &loaded.sources[source], message)
    };
    addresses.into_iter().filter(|(address, _)| not_up(address)).map(warn).collect()
}

fn examine_service(loaded: &Loaded, service: &Service, spans: &Spans) -> Finding {
    let mut warnings = Vec::new();
    let mut warn = |range, message: String, hint: Option<String>| {
        warnings.push(loaded.warning(spans, range, message).hint(hint));
    };
    match &service.program.identity {
        None => {
            if let Some(own) = sys::process::dangerous_own_identity() {
                let message = format!(
                    "every client of this service runs the program with all rights of {own}, as the server itself"
                );
                warn(&spans.identity, message, Some("name an account with fewer rights".to_owned()));
            }
        }
        Some(credentials) => match Account::examine(credentials) {
            Ok(false) => {}
            Ok(true) => {
                let message = format!(
                    "every client of this service runs the program with all rights of {}",
                    credentials.user
                );
                warn(&spans.identity, message, Some("name an account with fewer rights".to_owned()));
            }
            Err(error) => {
                let message = format!("{}; connections fail until this is corrected", error.cause);
                warn(&spans.identity, message, None);
            }
        },
    }
    let program = match Command::new(&service.program.command)
        .map_err(ProgramFault::from)
        .and_then(|command| command.program())
    {
        Ok(program) => {
            if let Some(warning) = &program.warning {
                warn(&spans.command, warning.clone(), None);
            }
            for (message, hint) in replaceable(&program.path) {
                warn(&spans.command, message, Some(hint));
            }
            Some(program)
        }
        Err(fault) => {
            warn(&spans.command, fault.message, fault.hint);
            None
        }
    };
    let streams = [needs_socket::warning, needs_pipes::warning];
    for (message, hint) in streams.iter().filter_map(|warning| warning(service, program.as_ref())) {
        warn(&spans.command, message, Some(hint));
    }
    let directory = &service.program.directory;
    if !directory.is_dir() {
        let message = format!("the program's start directory {} does not exist", directory.display());
        warn(&spans.command, message, None);
    }
    for address in &service.listen {
        if let Address::Unix(path) = address
            && let Some(folder) = path.parent().filter(|folder| !folder.is_dir())
        {
            let message = format!("the folder {} for the socket does not exist", folder.display());
            warn(&spans.listen, message, None);
        }
        if let Some((message, hint)) = shared_folder(address) {
            warn(&spans.listen, message, Some(hint));
        }
    }
    if let Some(tls) = &service.tls {
        for (message, hint) in tls_faults(tls) {
            warn(&spans.tls, message, hint);
        }
    }
    Finding { program, warnings }
}

/// Warns of a folder in which others can create a socket first. The server makes no socket there.
fn shared_folder(address: &Address) -> Option<(String, String)> {
    let Address::Unix(path) = address else { return None };
    let found = trust::folder_creators(path.parent()?).unwrap_or_default();
    let (folder, others) = found.first()?;
    let message = format!(
        "{} can change {}, and so replace the socket: no socket is made there",
        others.names(),
        folder.display()
    );
    let hint = if trust::is_shared(folder) {
        "use a separate folder, such as one below /run".to_owned()
    } else {
        format!("`{}` corrects that", trust::mend_writers(folder, others))
    };
    Some((message, hint))
}

fn tls_faults(tls: &Tls) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut unread = Vec::new();
    let loaded = Keys::load(tls);
    // A certificate may be public: if the two are swapped, check the real key.
    let swapped = loaded.is_err() && Keys::are_swapped(tls);
    let (certificate, key) =
        if swapped { (&tls.key, &tls.certificate) } else { (&tls.certificate, &tls.key) };
    let files = [
        ("certificate", Some(certificate)),
        ("key", Some(key)),
        ("client_ca", tls.client_ca.as_ref()),
        ("crl", tls.crl.as_ref()),
    ];
    for (name, path) in files {
        let Some(path) = path else { continue };
        let file = match open_regular(path) {
            Ok(file) => file,
            Err(error) => {
                found.push((format!("`{name}`: {} cannot be read: {error}", path.display()), None));
                unread.push(path);
                continue;
            }
        };
        let own = trust::file_writers(&file).unwrap_or_default();
        found.extend(writers(path, own).into_iter().map(|(changed, others)| {
            let message = format!(
                "{} can change {}, and so choose the server's identity or which clients it accepts",
                others.names(),
                changed.display()
            );
            (message, Some(format!("`{}` corrects that", trust::mend_writers(&changed, &others))))
        }));
        let readers =
            if name == "key" { trust::file_readers(&file).unwrap_or_default() } else { Others::default() };
        if !readers.is_empty() {
            let message = format!(
                "{} can read the key {}, and so pass for this server",
                readers.names(),
                path.display()
            );
            found.push((message, Some(format!("`{}` corrects that", trust::mend_readers(path, &readers)))));
        }
    }
    let faults = match loaded {
        Ok(keys) => {
            let own = keys.warning().cloned().into_iter();
            own.chain(keys.list_warnings()).collect()
        }
        Err(first) => match Keys::faults(tls) {
            // No fault on the second read: report that of the first.
            faults if faults.is_empty() => vec![first],
            faults => faults,
        },
    };
    let told = faults.into_iter().filter(|fault| !unread.contains(&&fault.path));
    found.extend(told.map(|fault| (fault.to_string(), fault.hint)));
    found
}

/// Warns of accounts that can replace the program, and so choose what clients start. They change
/// its file, or its folder, from which it may load libraries.
fn replaceable(program: &Path) -> Vec<(String, String)> {
    let own = open_regular(program).and_then(|file| trust::file_writers(&file)).unwrap_or_default();
    let say = |(path, others): (PathBuf, Others)| {
        let message =
            format!("{} can change {}, and so what clients start here", others.names(), path.display());
        (message, format!("`{}` corrects that", trust::mend_writers(&path, &others)))
    };
    writers(program, own).into_iter().map(say).collect()
}

/// The file and the folders above it that [`Others::anyone`] can change. `own` are the file's
/// writers.
fn writers(path: &Path, own: Others) -> Vec<(PathBuf, Others)> {
    let above = trust::folder_writers(path.parent().unwrap_or(path)).unwrap_or_default();
    let all = std::iter::once((path.to_owned(), own)).chain(above);
    all.filter(|(_, others)| !others.anyone.is_empty()).collect()
}
