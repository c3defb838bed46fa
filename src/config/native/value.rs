//! What stands behind a key becomes a value of its type, or is said to be none.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::{DeInteger, DeValue};
use zeroize::Zeroizing;

use super::address;
use super::keys::Kind;
use super::reader::{Cell, all};
use super::report::At;
use super::text::SINGLE_QUOTES;
use super::units::{self, Fault};
use crate::config::session_variables::is_of_session;
use crate::model::endings::{Leftovers, OnStop};
use crate::model::limits::Rate;
use crate::model::listen::Address;
use crate::model::plan::{EventLogExtent, LONGEST_TEXT, Stderr, Stdio, WhenFull};

/// A type of values.
pub(super) trait Typed: Sized {
    /// What may stand there; a key may narrow it.
    const KIND: Kind;

    /// Reads a value. What is wrong with it is said.
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self>;
}

/// The mode of a file.
#[derive(Clone, Copy)]
pub(super) struct Mode(pub u32);

/// Patterns of files, which were read before.
#[derive(Clone)]
pub(super) struct Patterns;

macro_rules! choices {
    ($($type:ident { $($word:literal => $choice:ident),+ })+) => { $(
        impl Typed for $type {
            const KIND: Kind = Kind::Choice(&[$($word),+]);

            fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
                match cell.text()? {
                    $($word => Some($type::$choice),)+
                    _ => cell.unwanted(),
                }
            }
        }
    )+ };
}

choices! {
    EventLogExtent { "events" => Events, "all" => All }
    Leftovers { "end" => End, "leave" => Leave }
    OnStop { "end" => End, "leave" => Leave }
    Stderr { "log" => Log, "client" => Client, "discard" => Discard }
    Stdio { "socket" => Socket, "pipe" => Pipe }
    WhenFull { "wait" => Wait, "refuse" => Refuse }
}

impl Typed for bool {
    const KIND: Kind = Kind::Flag;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.value.get_ref().as_bool().or_else(|| cell.mistyped())
    }
}

impl Typed for usize {
    const KIND: Kind = Kind::Count;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let DeValue::Integer(integer) = cell.value.get_ref() else { return cell.mistyped() };
        let most = if let Kind::UpTo(most) = cell.key.kind { most } else { u64::MAX };
        let count = number(integer).filter(|count| (1..=most).contains(count));
        count.and_then(|count| count.try_into().ok()).or_else(|| cell.unwanted())
    }
}

/// Bytes.
impl Typed for u64 {
    const KIND: Kind = Kind::Size;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.with_unit("size", units::SIZE_HINT, units::size)
    }
}

impl Typed for Rate {
    const KIND: Kind = Kind::Rate;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.with_unit("rate", units::RATE_HINT, units::rate)
    }
}

impl Typed for Duration {
    const KIND: Kind = Kind::Duration(0);

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let time = cell.with_unit("time", units::DURATION_HINT, units::duration)?;
        let least = if let Kind::Duration(least) = cell.key.kind { least } else { 0 };
        if time >= Duration::from_millis(least) {
            return Some(time);
        }
        let message = format!("`{}` is at least {least} ms", cell.key.name);
        let hint = cell.key.off.then(|| "`false` is for none".to_owned());
        cell.fault(Fault { message, hint })
    }
}

impl Typed for Mode {
    const KIND: Kind = Kind::Mode;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let mode = units::mode(cell.text()?);
        cell.said(mode.map(Mode))
    }
}

/// A text that is sent to clients.
impl Typed for Vec<u8> {
    const KIND: Kind = Kind::Text;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let text = cell.text()?;
        if text.len() <= LONGEST_TEXT {
            return Some(text.as_bytes().to_vec());
        }
        cell.fault(Fault::plain(format!("this has {} bytes: at most {LONGEST_TEXT} are sent", text.len())))
    }
}

/// A password.
impl Typed for Zeroizing<String> {
    const KIND: Kind = Kind::Password;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.text().map(|text| text.to_owned().into())
    }
}

/// A name of the system.
impl Typed for String {
    const KIND: Kind = Kind::Name;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.plain_text().map(str::to_owned)
    }
}

impl Typed for PathBuf {
    const KIND: Kind = Kind::Path;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let text = cell.plain_text()?;
        let folder = cell.reader.report.sources()[cell.context.source].path.parent();
        Some(folder.map(PathBuf::from).unwrap_or_default().join(text))
    }
}

/// Addresses to listen on, each with its place.
impl Typed for Vec<(Address, At)> {
    const KIND: Kind = Kind::Listen;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        if cell.value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
            return cell.fault(Fault::plain("there is no address to listen on"));
        }
        let addresses = cell.each(|cell| {
            let bind = &cell.reader.defaults.bind;
            let addresses = match cell.value.get_ref() {
                DeValue::String(text) => address::listen(text, bind),
                DeValue::Integer(integer) => address::port(number(integer), bind),
                _ => return cell.mistyped(),
            };
            let (addresses, at) = (cell.said(addresses)?, cell.at());
            Some(addresses.into_iter().map(|address| (address, at.clone())).collect::<Vec<_>>())
        });
        Some(addresses?.concat())
    }
}

/// Networks, each with its place.
impl Typed for Vec<(IpNet, At)> {
    const KIND: Kind = Kind::Networks;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let Some(array) = cell.value.get_ref().as_array() else { return cell.mistyped() };
        let is_empty = array.is_empty();
        // Those that are right are looked at further, beside one that is not.
        let networks = cell.each(|cell| {
            let text = cell.text()?;
            Some(cell.said(address::network(text)).map(|network| (network, cell.at())))
        })?;
        let networks: Vec<_> = networks.into_iter().flatten().collect();
        // Nobody is left out of a list only because all of it is wrong.
        (is_empty || !networks.is_empty()).then_some(networks)
    }
}

/// Names of variables.
impl Typed for Vec<String> {
    const KIND: Kind = Kind::Names;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        if cell.value.get_ref().as_array().is_none() {
            return cell.mistyped();
        }
        cell.each(|cell| {
            let (name, at) = (cell.text()?, cell.at());
            cell.variable_name(&at, name)
        })
    }
}

/// Names and values of variables.
impl Typed for Vec<(String, String)> {
    const KIND: Kind = Kind::Variables;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        let value = cell.value;
        let Some(table) = value.get_ref().as_table() else { return cell.mistyped() };
        all(table.iter().map(|(name, value)| {
            let name = cell.variable_name(&cell.context.at(name.span()), name.get_ref())?;
            match value.get_ref().as_str().filter(|text| !text.contains('\0')) {
                Some(text) => Some((name, text.to_owned())),
                None => {
                    let fault = Fault::plain("the value of a variable is a string without NUL");
                    cell.reader.report.error(&cell.context.at(value.span()), fault);
                    None
                }
            }
        }))
    }
}

impl Typed for Patterns {
    const KIND: Kind = Kind::Patterns;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        cell.each(|cell| cell.text().map(|_| ())).map(|_| Patterns)
    }
}

fn number(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl<'c> Cell<'c, '_> {
    /// Says that this value of the right type is none of those that the key takes.
    fn unwanted<T>(&mut self) -> Option<T> {
        self.fault(Fault::plain(format!("`{}` is {}", self.key.name, self.key.kind.wanted())))
    }

    /// A number with its unit, as a string.
    fn with_unit<T>(&mut self, what: &str, hint: &str, read: fn(&str) -> Result<T, Fault>) -> Option<T> {
        match self.value.get_ref() {
            DeValue::String(text) => self.said(read(text)),
            DeValue::Integer(_) | DeValue::Float(_) => {
                self.fault(Fault::new(format!("a {what} has a unit"), hint))
            }
            _ => self.mistyped(),
        }
    }

    /// A name or a path. It holds no control characters: they are a backslash's
    /// that had another meaning.
    pub fn plain_text(&mut self) -> Option<&'c str> {
        let text = self.text()?;
        if text.is_empty() {
            return self.fault(Fault::plain("this is empty"));
        }
        let Some(letter) = text.chars().find(|letter| letter.is_control()) else { return Some(text) };
        let raw = self.raw();
        let hint = (raw.starts_with('"') && raw.contains('\\')).then(|| SINGLE_QUOTES.to_owned());
        self.fault(Fault { message: format!("this holds the control character {letter:?}"), hint })
    }

    /// The value, as it was typed.
    pub fn raw(&self) -> &str {
        let text = self.reader.report.sources()[self.context.source].text.get(self.value.span());
        text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }

    fn variable_name(&mut self, at: &At, name: &str) -> Option<String> {
        let fault = if name.is_empty() || name.contains(['=', '\0']) {
            Fault::plain("a variable's name is not empty and has no `=` and no NUL")
        } else if is_of_session(name.as_ref()) {
            Fault::plain(format!("{} is set for each session", units::quote(name)))
        } else {
            return Some(name.to_owned());
        };
        self.reader.report.error(at, fault);
        None
    }
}
