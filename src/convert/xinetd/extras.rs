//! Limits, banners and other attributes of an xinetd service.

use super::attributes::{Attributes, Value};
use crate::convert::reader::{ServiceReader, UNLIMITED};
use crate::convert::toml::{TomlEntry, string, table};
use crate::model::plan::LONGEST_TEXT;
use crate::sys::CAPABILITIES;

/// Attributes that restrict no client and are not carried over, with the reason.
const HARMLESS: [(&str, &str); 10] = [
    ("log_on_success", "every connection has its record here"),
    ("log_on_failure", "every refusal has its record here"),
    ("log_type", "log_file in [server] and the system's log are for all services"),
    ("nice", "there are no priorities here"),
    ("max_load", "the load is not asked here; max_connections bounds it"),
    ("leaky_bucket", "rate bounds how often a connection begins"),
    ("mdns", "nothing is announced here"),
    ("rlimit_rss", "limits.memory bounds memory"),
    ("rlimit_stack", "there is no such limit here"),
    ("deny_time", "it belongs to sensors, and there are none here"),
];

pub(super) fn is_harmless(name: &str) -> bool {
    HARMLESS.iter().any(|(known, _)| *known == name)
}

/// Attributes that other functions read, or that mean nothing on their own.
const USED: [&str; 34] = [
    "access_times",
    "banner",
    "banner_fail",
    "banner_success",
    "bind",
    "cps",
    "disable",
    "disabled",
    "enabled",
    "env",
    "flags",
    "group",
    "groups",
    "id",
    "instances",
    "libwrap",
    "no_access",
    "only_from",
    "passenv",
    "per_source",
    "port",
    "protocol",
    "redirect",
    "rlimit_as",
    "rlimit_cpu",
    "rlimit_data",
    "rlimit_files",
    "server",
    "server_args",
    "socket_type",
    "type",
    "umask",
    "user",
    "v6only",
];

impl ServiceReader<'_> {
    pub(super) fn limits(&mut self, attributes: &Attributes, entry: &mut TomlEntry) {
        let number = |value: &Value| value.first().parse::<u32>().ok().filter(|&count| count > 0);
        let unlimited = |value: &Value| value.first() == "UNLIMITED";
        for (name, key) in [("instances", "max_connections"), ("per_source", "max_connections_per_source")] {
            let Some(value) = attributes.value(name) else { continue };
            match number(value).filter(|_| value.words.len() == 1) {
                Some(count) => entry.keys.set(key, count.to_string()),
                None if unlimited(value) && name == "instances" => entry.keys.set(key, UNLIMITED),
                None if unlimited(value) => {}
                None => self.switch_off(entry, &value.at, format!("{name} is no number and not UNLIMITED")),
            }
        }
        if let Some(value) = attributes.value("cps") {
            match number(value).filter(|_| value.words.len() == 2) {
                Some(count) => entry.keys.set("rate", string(&format!("{count}/s"))),
                None => {
                    self.switch_off(
                        entry,
                        &value.at,
                        "cps has two numbers: connections a second, and a pause",
                    );
                }
            }
        }
        let mut limits: Vec<(&'static str, String)> = Vec::new();
        for (name, key, is_size) in [
            ("rlimit_data", "memory", true),
            // If both are set, `rlimit_data` is the narrower limit.
            ("rlimit_as", "memory", true),
            ("rlimit_cpu", "cpu_time", false),
            ("rlimit_files", "open_files", false),
        ] {
            let Some(value) = attributes.value(name).filter(|value| !unlimited(value)) else { continue };
            if limits.iter().any(|(known, _)| *known == key) {
                continue;
            }
            let Some((count, unit)) = amount(value.first(), is_size) else {
                self.switch_off(entry, &value.at, format!("{name} is no limit that can be read"));
                continue;
            };
            limits.push((
                key,
                match key {
                    "memory" => string(&format!("{count}{unit}")),
                    "cpu_time" => string(&format!("{count}s")),
                    _ => count.to_string(),
                },
            ));
        }
        if limits.iter().any(|(key, _)| *key == "open_files") && !CAPABILITIES.open_files {
            entry.keys.set_if(false, "limits", table(limits.clone()));
            limits.retain(|(key, _)| *key != "open_files");
        }
        if !limits.is_empty() {
            entry.keys.set("limits", table(limits));
        }
    }

    pub(super) fn texts(&mut self, attributes: &Attributes, entry: &mut TomlEntry) {
        for (key, names) in [("refusal", ["banner", "banner_fail"]), ("banner", ["banner", "banner_success"])]
        {
            let mut text = String::new();
            for value in names.iter().filter_map(|name| attributes.value(name)) {
                let path = value.first();
                match short_text(path, LONGEST_TEXT - text.len()) {
                    Ok(more) => text.push_str(&more),
                    Err(why) => {
                        self.once(entry, &value.at, format!("the text of {path} is not carried over: {why}"));
                    }
                }
            }
            if !text.is_empty() {
                entry.keys.set(key, string(&text));
            }
        }
    }

    /// Handles attributes without a native key. Unless harmless, they switch the service off.
    pub(super) fn others(&mut self, attributes: &Attributes, entry: &mut TomlEntry) {
        for (name, value) in attributes.names() {
            if let Some((_, why)) = HARMLESS.iter().find(|(known, _)| *known == name) {
                self.once(entry, &value.at, format!("{name} is not carried over: {why}"));
            } else if name != "wait" && !USED.contains(&name) {
                self.switch_off(entry, &value.at, format!("{name} is not known, nor what it restricts"));
            }
        }
        let Some(umask) = attributes.value("umask") else { return };
        match u32::from_str_radix(umask.first(), 8).ok() {
            Some(0o022) => {}
            // The mask removes no more permissions than 022, so files stay at least as protected.
            Some(mask) if mask & !0o022 == 0 => {
                self.once(entry, &umask.at, "umask is not carried over: a program has 022");
            }
            _ => {
                let why = "umask is not carried over: a program has 022, and its files would be open wider";
                self.switch_off(entry, &umask.at, why);
            }
        }
    }
}

/// Bytes are rounded up to whole KiB. `None` also for more than a native file accepts.
fn amount(word: &str, is_size: bool) -> Option<(u64, &'static str)> {
    let most = if is_size { 1 << 40 } else { u64::from(u32::MAX) / 16 };
    let number = |digits: &str| digits.parse().ok().filter(|&count: &u64| (1..=most).contains(&count));
    match word.as_bytes().last()? {
        b'k' | b'K' if is_size => Some((number(&word[..word.len() - 1])?, "KiB")),
        b'm' | b'M' if is_size => Some((number(&word[..word.len() - 1])?, "MiB")),
        _ if is_size => Some((number(word)?.div_ceil(1024), "KiB")),
        _ => Some((number(word)?, "")),
    }
}

fn short_text(path: &str, most: usize) -> Result<String, String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let longest = u64::try_from(most).unwrap_or(0);
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(longest + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("more than {LONGEST_TEXT} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}
