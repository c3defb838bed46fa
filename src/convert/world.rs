//! What a conversion asks of the system: the numbers of named ports, and
//! whether TCP wrappers restrict anything here.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::sys;

/// What is known of the system.
#[derive(Debug)]
pub(super) struct World {
    /// The name and the group's number of the account with this number.
    pub user: fn(u32) -> Option<(String, u32)>,
    /// The name of the group with this number.
    pub group: fn(u32) -> Option<String>,
    /// The TCP ports by name.
    pub ports: HashMap<String, u16>,
    /// A file with rules of TCP wrappers.
    pub wrapper_rules: Option<PathBuf>,
}

/// The longest file that is read here, in bytes: a services file of a thousand
/// names has 20 KiB.
const LONGEST: u64 = 4 << 20;

impl Default for World {
    /// A system without names.
    fn default() -> World {
        World { user: |_| None, group: |_| None, ports: HashMap::new(), wrapper_rules: None }
    }
}

impl World {
    /// As it is here.
    pub(super) fn of_system() -> World {
        let rules = |path: &&&str| {
            // What can't be read may say anything.
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

    /// A port that was typed as a number or a name.
    pub(super) fn port(&self, text: &str) -> Option<u16> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().filter(|&port| port != 0);
        }
        self.ports.get(text).copied()
    }

    #[cfg(test)]
    pub(super) fn example() -> World {
        World {
            // Group 7 is named, as is 8; user 8 has a group of another number.
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

/// A file that can't be read has no names.
fn read(path: &std::path::Path) -> String {
    try_read(path).unwrap_or_default()
}

/// A file that is not there has nothing to say.
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

/// Lines `name port/protocol aliases # comment`; the first of a name counts.
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
