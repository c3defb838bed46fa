//! The source of the server's entries in the Event Log, and the file with their texts.

use std::io;
use std::path::Path;

use crate::sys::event_log::MESSAGE_FILE;
use crate::sys::registry::{self, RegistryKey};

/// In the program's directory, where only administrators can write.
const FILE_NAME: &str = "wininetd-events.dll";

fn key(name: &str) -> String {
    format!(r"SYSTEM\CurrentControlSet\Services\EventLog\Application\{name}")
}

pub(super) fn register(name: &str) -> io::Result<()> {
    let file = std::env::current_exe()?.with_file_name(FILE_NAME);
    write_message_file(&file)?;
    refuse_strange(name)?;
    let key = RegistryKey::create(&key(name), None)?;
    key.set_path("EventMessageFile", &file)?;
    const ERRORS_WARNINGS_INFORMATION: u32 = 7;
    key.set_number("TypesSupported", ERRORS_WARNINGS_INFORMATION)
}

/// Removes the source. Old entries lose their texts.
pub(super) fn forget(name: &str) -> io::Result<()> {
    match refuse_strange(name) {
        Ok(()) => registry::delete_tree(&key(name)),
        // Leave another program's source alone.
        Err(_) => Ok(()),
    }
}

fn refuse_strange(name: &str) -> io::Result<()> {
    let Some(known) = RegistryKey::open(&key(name))? else { return Ok(()) };
    match known.path("EventMessageFile")? {
        Some(file) if !file.to_lowercase().ends_with(FILE_NAME) => {
            Err(io::Error::other(format!("the source {name} belongs to another program, {file}")))
        }
        _ => Ok(()),
    }
}

/// A viewer may hold the old file open. It cannot be overwritten then, but renamed.
fn write_message_file(file: &Path) -> io::Result<()> {
    if std::fs::read(file).is_ok_and(|bytes| bytes == MESSAGE_FILE) {
        return Ok(());
    }
    let aside = file.with_extension("dll.old");
    let _ = std::fs::remove_file(&aside);
    if file.exists() {
        std::fs::rename(file, &aside)?;
    }
    std::fs::write(file, MESSAGE_FILE)?;
    let _ = std::fs::remove_file(&aside);
    Ok(())
}
