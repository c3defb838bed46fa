//! The account of an inetd or xinetd entry in the native form.

use super::toml::{TomlEntry, literal, string};
use super::world::World;
use crate::model::secret::STORED;
use crate::sys::CAPABILITIES;
use crate::sys::account::parse_credentials;

pub(super) fn unnameable(user: &str) -> Option<String> {
    // In a native file `none` is the server's own account, which may be root.
    user.eq_ignore_ascii_case("none")
        .then(|| format!("the user {user} cannot stand in a native file, where that is no account"))
}

/// Writes the user, and `password` if this system needs one. Returns a note that the password must
/// be stored.
pub(super) fn write_user(entry: &mut TomlEntry, user: &str) -> Option<String> {
    entry.keys.set("user", string(user));
    let reads = |password| parse_credentials(user, password, "wininetd").is_ok();
    if reads(None) || !reads(Some(STORED)) {
        return None;
    }
    entry.keys.set("password", literal(STORED));
    Some(format!("{user} needs a password here: store it with `wininetd --set-password {user}`"))
}

/// Writes the group. On a system without groups it goes into the `unix` table.
pub(super) fn write_group(entry: &mut TomlEntry, group: &str) {
    entry.keys.set_if(CAPABILITIES.groups, "group", string(group));
}

pub(super) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) struct User {
    /// The name, or the typed text if the name is unknown.
    pub name: String,
    /// The group, if it is not the account's own.
    pub group: Option<String>,
    /// A note on the user. `Err` means that the service must stay closed.
    pub said: Option<Result<String, String>>,
}

/// xinetd gives a program with a numeric user the group with the same number, unless the block has
/// a `group`.
pub(super) fn user_of_number(world: &World, typed: &str, has_group: bool) -> User {
    let number = typed.parse().ok();
    let as_typed = |why| User { name: typed.to_owned(), group: None, said: Some(Err(why)) };
    let Some((name, own_group)) = number.and_then(world.user) else {
        return as_typed(format!("user {typed} is no account that this system knows: write its name"));
    };
    let told = format!("user {typed} is written by its name, {name}");
    if has_group || number == Some(own_group) {
        return User { name, group: None, said: Some(Ok(told)) };
    }
    match number.and_then(world.group) {
        Some(group) => {
            let told = format!("{told}, with the group {group}, which xinetd takes by the same number");
            User { name, group: Some(group), said: Some(Ok(told)) }
        }
        None => {
            let why =
                format!("xinetd gives user {typed} the group {typed}, which has no name on this system");
            User { name, group: None, said: Some(Err(why)) }
        }
    }
}

/// The lines as this system writes them, with passwords or a `unix` table.
#[cfg(test)]
pub(super) fn as_here(text: &str) -> String {
    let (mut lines, mut group) = (Vec::new(), None);
    for line in text.lines() {
        if line.starts_with("group = ") && !CAPABILITIES.groups {
            group = Some(format!("unix = {{ {line} }}"));
            continue;
        }
        lines.push(line.to_owned());
        if line.starts_with("user = ") && CAPABILITIES.passwords {
            lines.push("password = '{stored}'".to_owned());
        }
    }
    lines.extend(group);
    lines.into_iter().map(|line| line + "\n").collect()
}
