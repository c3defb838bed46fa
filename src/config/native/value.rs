//! What stands behind a key becomes a value, or is said to be none.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::fields::{Context, Fields};
use super::keys::{Key, Kind};
use super::report::At;
use super::text::SINGLE_QUOTES;
use super::units::{self, Fault};
use super::{Reader, address};
use crate::model::command_line::CommandLine;
use crate::model::limits::Rate;
use crate::model::listen::Address;
use crate::model::plan::LONGEST_TEXT;

/// A value that is right by itself. It may be a password, so it does not print.
#[derive(Clone)]
pub(super) enum Value {
    /// `false` where there could be something: none.
    Off,
    Flag(bool),
    /// A count, or bytes.
    Number(u64),
    Duration(Duration),
    Rate(Rate),
    /// A text, a name or a password.
    Text(zeroize::Zeroizing<String>),
    Path(PathBuf),
    Choice(&'static str),
    Mode(u32),
    Command(CommandLine),
    Addresses(Vec<(Address, At)>),
    Networks(Vec<(IpNet, At)>),
    Variables(Vec<(String, String)>),
    Names(Vec<String>),
    Table(Fields),
    /// It was right, and nobody needs it any more.
    Read,
}

type Toml<'t> = Spanned<DeValue<'t>>;

impl Kind {
    /// What may stand there, as the end of a sentence.
    pub fn wanted(self) -> String {
        match self {
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Count => "a whole number from 1 on".to_owned(),
            Kind::UpTo(most) => format!("a whole number from 1 to {most}"),
            Kind::Duration(_) => "a time, as \"10s\" or \"5m\"".to_owned(),
            Kind::Size => "a size, as \"256MiB\"".to_owned(),
            Kind::Rate => "a rate, as \"50/s\"".to_owned(),
            Kind::Text | Kind::Name | Kind::Password | Kind::Path => "a string".to_owned(),
            Kind::Command => "a string or an array of strings".to_owned(),
            Kind::Listen => "a port, a string or an array of these".to_owned(),
            Kind::Networks => "an array of networks, as [\"10.0.0.0/8\"]".to_owned(),
            Kind::Choice(words) => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
            }
            Kind::Mode => "a string of octal digits, as \"0660\"".to_owned(),
            Kind::Variables => "a table of strings, as { LANG = \"C\" }".to_owned(),
            Kind::Names | Kind::Patterns => "an array of strings".to_owned(),
            Kind::Table(_) | Kind::System => "a table".to_owned(),
            Kind::Services => "tables with names: [service.NAME]".to_owned(),
        }
    }
}

fn called(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

fn number(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl Reader<'_> {
    /// The value behind a key. What is wrong with it is said.
    pub fn value(&mut self, context: Context, key: &Key, value: &Toml<'_>) -> Option<Value> {
        let at = context.at(value.span());
        if key.off && value.get_ref().as_bool() == Some(false) {
            return Some(Value::Off);
        }
        match (key.kind, value.get_ref()) {
            (Kind::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
            (Kind::Count | Kind::UpTo(_), DeValue::Integer(integer)) => {
                let fault = || Fault::plain(format!("`{}` is {}", key.name, key.kind.wanted()));
                let most = if let Kind::UpTo(most) = key.kind { most } else { u64::MAX };
                let number = number(integer).filter(|count| (1..=most).contains(count)).ok_or_else(fault);
                self.said(&at, number.map(Value::Number))
            }
            (Kind::Duration(least), DeValue::String(text)) => {
                let least = Duration::from_millis(least);
                let long_enough =
                    |time| if time >= least { Ok(Value::Duration(time)) } else { Err(too_short(key, least)) };
                self.said(&at, units::duration(text).and_then(long_enough))
            }
            (Kind::Duration(_), DeValue::Integer(_) | DeValue::Float(_)) => {
                self.lacks_unit(&at, "time", units::DURATION_HINT)
            }
            (Kind::Size, DeValue::String(text)) => self.said(&at, units::size(text).map(Value::Number)),
            (Kind::Size, DeValue::Integer(_) | DeValue::Float(_)) => {
                self.lacks_unit(&at, "size", units::SIZE_HINT)
            }
            (Kind::Rate, DeValue::String(text)) => self.said(&at, units::rate(text).map(Value::Rate)),
            (Kind::Rate, DeValue::Integer(_) | DeValue::Float(_)) => {
                self.lacks_unit(&at, "rate", units::RATE_HINT)
            }
            (Kind::Mode, DeValue::String(text)) => self.said(&at, units::mode(text).map(Value::Mode)),
            (Kind::Text, DeValue::String(text)) => {
                let fits = text.len() <= LONGEST_TEXT;
                let fault = || {
                    Fault::plain(format!("this has {} bytes: at most {LONGEST_TEXT} are sent", text.len()))
                };
                self.said(&at, if fits { Ok(Value::Text(text.to_string().into())) } else { Err(fault()) })
            }
            (Kind::Password, DeValue::String(text)) => Some(Value::Text(text.to_string().into())),
            (Kind::Name, DeValue::String(text)) => {
                self.plain_text(&at, text)?;
                Some(Value::Text(text.to_string().into()))
            }
            (Kind::Path, DeValue::String(text)) => {
                self.plain_text(&at, text)?;
                let folder = self.report.sources()[at.source].path.parent().map(PathBuf::from);
                Some(Value::Path(folder.unwrap_or_default().join(&**text)))
            }
            (Kind::Command, DeValue::String(text)) => self.command_line(context, &at, text),
            (Kind::Command, DeValue::Array(_)) => self.command_of_arguments(context, key, value),
            (Kind::Choice(words), DeValue::String(text)) => {
                let known = words.iter().find(|word| *word == text);
                let fault = Fault::plain(format!("`{}` is {}", key.name, key.kind.wanted()));
                self.said(&at, known.map(|word| Value::Choice(word)).ok_or(fault))
            }
            (Kind::Listen, DeValue::String(_) | DeValue::Integer(_) | DeValue::Array(_)) => {
                self.addresses(context, key, value)
            }
            (Kind::Networks, DeValue::Array(_)) => {
                let texts = self.texts(context, key, value)?;
                // Those that are right are looked at further, beside one that is not.
                let typed = texts.len();
                let network = |(text, at): (String, At)| Some((self.said(&at, address::network(&text))?, at));
                let networks: Vec<_> = texts.into_iter().filter_map(network).collect();
                // Nobody is left out of a list only because all of it is wrong.
                (typed == 0 || !networks.is_empty()).then_some(Value::Networks(networks))
            }
            (Kind::Names, DeValue::Array(_)) => {
                let names = self.texts(context, key, value)?.into_iter().map(|(name, at)| {
                    self.variable_name(&at, &name)?;
                    Some(name)
                });
                all(names).map(Value::Names)
            }
            (Kind::Variables, DeValue::Table(_)) => self.variables(context, value),
            (Kind::Patterns, DeValue::String(_) | DeValue::Array(_)) => {
                self.texts(context, key, value).map(|_| Value::Read)
            }
            (Kind::Table(table), DeValue::Table(found)) => {
                Some(Value::Table(self.fields(context, table, found)))
            }
            _ => self.mistyped(&at, key, value.get_ref()),
        }
    }

    /// Says that this is not what the key takes.
    pub fn mistyped<T>(&mut self, at: &At, key: &Key, value: &DeValue<'_>) -> Option<T> {
        let or_false = if key.off { ", or `false` for none" } else { "" };
        let (name, wanted, found) = (key.name, key.kind.wanted(), called(value));
        self.report.error(at, Fault::plain(format!("`{name}` is {wanted}{or_false}; this is {found}")));
        None
    }

    /// A value, or its fault, which is said.
    pub fn said<T>(&mut self, at: &At, found: Result<T, Fault>) -> Option<T> {
        found.map_err(|fault| self.report.error(at, fault)).ok()
    }

    fn lacks_unit(&mut self, at: &At, what: &str, hint: &str) -> Option<Value> {
        self.report.error(at, Fault::new(format!("a {what} has a unit"), hint));
        None
    }

    /// The strings of an array, or a single one.
    pub fn texts(&mut self, context: Context, key: &Key, value: &Toml<'_>) -> Option<Vec<(String, At)>> {
        let items: Vec<&Toml<'_>> = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        let texts = items.into_iter().map(|item| {
            let at = context.at(item.span());
            match item.get_ref() {
                DeValue::String(text) => Some((text.to_string(), at)),
                other => self.mistyped(&at, key, other),
            }
        });
        all(texts)
    }

    fn addresses(&mut self, context: Context, key: &Key, value: &Toml<'_>) -> Option<Value> {
        let items: Vec<&Toml<'_>> = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.report.error(&context.at(value.span()), Fault::plain("there is no address to listen on"));
            return None;
        }
        let found = items.into_iter().map(|item| {
            let at = context.at(item.span());
            let addresses = match item.get_ref() {
                DeValue::String(text) => address::listen(text, &self.defaults.bind),
                DeValue::Integer(integer) => address::port(number(integer), &self.defaults.bind),
                other => return self.mistyped(&at, key, other),
            };
            let addresses = self.said(&at, addresses)?;
            Some(addresses.into_iter().map(|address| (address, at.clone())).collect::<Vec<_>>())
        });
        all(found).map(|found| Value::Addresses(found.concat()))
    }

    fn variables(&mut self, context: Context, value: &Toml<'_>) -> Option<Value> {
        let table = value.get_ref().as_table()?;
        let found = table.iter().map(|(name, value)| {
            let at = context.at(value.span());
            self.variable_name(&context.at(name.span()), name.get_ref())?;
            let text = match value.get_ref() {
                DeValue::String(text) if !text.contains('\0') => text.to_string(),
                _ => {
                    self.report.error(&at, Fault::plain("the value of a variable is a string without NUL"));
                    return None;
                }
            };
            Some((name.get_ref().to_string(), text))
        });
        all(found).map(Value::Variables)
    }

    fn variable_name(&mut self, at: &At, name: &str) -> Option<()> {
        if name.is_empty() || name.contains(['=', '\0']) {
            self.report.error(at, Fault::plain("a variable's name is not empty and has no `=` and no NUL"));
            return None;
        }
        if crate::config::session_variables::is_of_session(name.as_ref()) {
            self.report.error(at, Fault::plain(format!("{} is set for each session", units::quote(name))));
            return None;
        }
        Some(())
    }

    /// What is a name or a path holds no control characters: they are a
    /// backslash's that had another meaning.
    pub fn plain_text(&mut self, at: &At, text: &str) -> Option<()> {
        if text.is_empty() {
            self.report.error(at, Fault::plain("this is empty"));
            return None;
        }
        let Some(letter) = text.chars().find(|letter| letter.is_control()) else { return Some(()) };
        let raw = self.raw(at);
        let trap = raw.starts_with('"') && raw.contains('\\');
        let message = format!("this holds the control character {letter:?}");
        let hint = trap.then(|| SINGLE_QUOTES.to_owned());
        self.report.error(at, Fault { message, hint });
        None
    }

    /// A part of the text, as it was typed.
    pub fn raw(&self, at: &At) -> &str {
        let text = self.report.sources()[at.source].text.get(at.range.clone());
        text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

fn too_short(key: &Key, least: Duration) -> Fault {
    let message = format!("`{}` is at least {} ms", key.name, least.as_millis());
    let hint = key.off.then(|| "`false` is for none".to_owned());
    Fault { message, hint }
}

/// All of them, once each was looked at.
fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}
