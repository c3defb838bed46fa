//! Facts about the system that a conversion needs: accounts, named ports, and rules of TCP
//! wrappers.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::sys;

#[derive(Debug)]
pub(super) struct World {
    /// Name and group ID of the account with this user ID.
    pub user: fn(u32) -> Option<(String, u32)>,
    pub group: fn(u32) -> Option<String>,
    pub ports: HashMap<String, u16>,
    pub wrapper_rules: Option<PathBuf>,
}

/// The longest file to read, in bytes. A services file of a thousand names has 20 KiB.
const LONGEST: u64 = 4 << 20;

impl Default for World {
    fn default() -> World {
        World { user: |_| None, group: |_| None, ports: HashMap::new(), wrapper_rules: None }
    }
}

impl World {
    pub(super) fn of_system() -> World {
        let rules = |path: &&&str| {
            // An unreadable file may have rules.
            let Ok(text) = try_read(path.as_ref()) else { return true };
            text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
        };
        World {
            user: |number| sys::account::name_of_user(number).ok().flatten(),
            group: |number| sys::account::name_of_group(number).ok().flatten(),
            ports: ports(&read(&sys::paths::services())),
            wrapper_rules: sys::paths::WRAPPER_RULES.iter().find(rules).map(PathBuf::from),
        }
    }

    pub(super) fn port(&self, text: &str) -> Option<u16> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().filter(|&port| port != 0);
        }
        self.ports.get(text).copied()
    }

    #[cfg(test)]
    pub(super) fn example() -> World {
        World {
            // Groups 7 and 8 have names. User 8 has a primary group with another number.
            user: |number| match number {
                7 => Some(("seven".to_owned(), 7)),
                8 => Some(("eight".to_owned(), 100)),
                9 => Some(("nine".to_owned(), 100)),
                _ => None,
            },
            group: |number| matches!(number, 7 | 8).then(|| format!("group{number}")),
            ports: ports("ftp 21/tcp\nfinger 79/tcp\nauth 113/tcp ident # x\n"),
            wrapper_rules: None,
        }
    }
}

/// An unreadable file counts as empty.
fn read(path: &std::path::Path) -> String {
    try_read(path).unwrap_or_default()
}

/// A missing file counts as empty.
fn try_read(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(LONGEST).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Parses lines `name port/protocol aliases # comment`. The first line of a name counts.
fn ports(text: &str) -> HashMap<String, u16> {
    let mut ports = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, number, aliases @ ..] = &words[..] else { continue };
        let Some(Ok(port)) = number.strip_suffix("/tcp").map(str::parse) else { continue };
        for name in std::iter::once(name).chain(aliases) {
            ports.entry((*name).to_owned()).or_insert(port);
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_names_aliases_and_numbers() {
        let world = World::example();
        assert_eq!(
            [world.port("ident"), world.port("auth"), world.port("79")],
            [Some(113), Some(113), Some(79)]
        );
        assert_eq!([world.port("0"), world.port("99999"), world.port("nosuch")], [None; 3]);
    }
}
