//! The account of an entry of inetd or xinetd, as a native file names it.

use super::toml::{TomlEntry, literal, string};
use super::world::World;
use crate::model::secret::STORED;
use crate::sys::CAPABILITIES;
use crate::sys::account::parse_credentials;

/// Why an account cannot stand in a native file, if so.
pub(super) fn unnameable(user: &str) -> Option<String> {
    // Here that is the server's own account, which may be root.
    user.eq_ignore_ascii_case("none")
        .then(|| format!("the user {user} cannot stand in a native file, where that is no account"))
}

/// Writes the user, and its password where this system needs one. The result is what to do
/// about that.
pub(super) fn write_user(entry: &mut TomlEntry, user: &str) -> Option<String> {
    entry.keys.set("user", string(user));
    let reads = |password| parse_credentials(user, password, "wininetd").is_ok();
    if reads(None) || !reads(Some(STORED)) {
        return None;
    }
    entry.keys.set("password", literal(STORED));
    Some(format!("{user} needs a password here: store it with `wininetd --set-password {user}`"))
}

/// Writes the group: for Unix alone where this system has none.
pub(super) fn write_group(entry: &mut TomlEntry, group: &str) {
    entry.keys.set_if(CAPABILITIES.groups, "group", string(group));
}

/// Whether a name is a number to xinetd.
pub(super) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The user that xinetd starts a program as.
pub(super) struct User {
    /// Its name, or what was typed.
    pub name: String,
    /// The group in the place of the account's own.
    pub group: Option<String>,
    /// What there is to say: `Err` where the service must stay closed.
    pub said: Option<Result<String, String>>,
}

/// The user of this number: xinetd gives the program the group of the same number as well,
/// unless the block has a `group`.
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

/// The lines of a service as this system has them: with a password where users need one, and
/// groups in the table for Unix where there are none.
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
