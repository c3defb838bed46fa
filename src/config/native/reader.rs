//! From tables of TOML to values of the kinds that the keys have, with every
//! error at its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, Kind};
use super::value::{self, Fault};
use crate::config::classic::Defaults;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::plan::{Address, LONGEST_TEXT, Limits, Rate};
use crate::config::source::Source;
use crate::sys::command::Command;
use crate::sys::{self, CAPABILITIES};

/// Where something stands: the file, by its place among those that were read,
/// and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) source: usize,
    pub(super) range: Range<usize>,
}

/// What a key holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Listen(Vec<(Address, Place)>),
    Command(Command),
    Text(String),
    Path(PathBuf),
    Mode(u32),
    Names(Vec<OsString>),
    Environment(Vec<(OsString, OsString)>),
    Networks(Vec<(IpNet, Place)>),
    Patterns(Vec<(String, Place)>),
    Count(u64),
    Rate(Rate),
    Duration(Option<Duration>),
    Bool(bool),
    Limits(Limits),
}

/// A key that was typed.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) value: Value,
    /// Where its value stands.
    pub(super) place: Place,
    /// It is the service's own, and not that of the defaults.
    pub(super) is_own: bool,
}

/// The keys of a table.
pub(super) type Keys = BTreeMap<&'static str, Set>;

/// Reads the tables of one file.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    /// Its place among the files that were read.
    pub(super) number: usize,
    pub(super) defaults: &'a Defaults,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// What is typed as one text of TOML.
type Typed<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    pub(super) fn place(&self, range: Range<usize>) -> Place {
        Place { source: self.number, range }
    }

    pub(super) fn error(
        &mut self,
        range: &Range<usize>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        let found = Diagnostic::at(Severity::Error, self.source, range, message).hint(hint);
        self.diagnostics.push(found);
    }

    fn ok<T>(&mut self, range: &Range<usize>, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|(message, hint)| self.error(range, message, hint)).ok()
    }

    /// A table, or an error that this is none.
    pub(super) fn table<'t, 'i>(&mut self, value: &'t Typed<'i>, what: &str) -> Option<&'t DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.error(&value.span(), format!("{what} is a table"), format!("write [{what}]"));
        }
        table
    }

    /// The keys of a table that are known. Those of a system that is not this
    /// one are looked at and left out. `tables` are names that are no keys.
    pub(super) fn keys(
        &mut self,
        table: &DeTable<'_>,
        known: &'static [Key],
        tables: &[&str],
        of_other_system: bool,
        for_one_system: bool,
    ) -> Keys {
        let mut found = Keys::new();
        for (name, value) in table {
            let (typed, at) = (&**name.get_ref(), name.span());
            if tables.contains(&typed) {
                continue;
            }
            let Some(key) = keys::find(known, typed) else {
                let names = known.iter().map(|key| key.name).chain(tables.iter().copied());
                let hint = keys::nearest(names, typed).map(|name| format!("did you mean {name}?"));
                self.error(&at, format!("there is no key {typed} here"), hint);
                continue;
            };
            if key.kind == Kind::Later {
                self.error(&at, format!("{typed} is not there yet: it comes with a later version"), None);
                continue;
            }
            let honoured = key.only.as_ref().is_none_or(|only| (only.asks)(&CAPABILITIES));
            if !honoured && !of_other_system {
                let systems = key.only.as_ref().map_or("", |only| only.systems);
                let hint = if for_one_system {
                    None
                } else {
                    Some(
                        "keys for one system stand in a table of its own, such as [service.NAME.unix]"
                            .to_owned(),
                    )
                };
                self.error(&at, format!("{typed} can't be honoured on this system, only on {systems}"), hint);
                continue;
            }
            if of_other_system && matches!(key.kind, Kind::Command | Kind::Path) {
                // Each system reads these in its own way.
                if !matches!(value.get_ref(), DeValue::String(_) | DeValue::Array(_)) {
                    self.expected::<()>(value, "text");
                }
                continue;
            }
            let Some(read) = self.value(key, value) else { continue };
            if !of_other_system {
                found.insert(key.name, Set { value: read, place: self.place(value.span()), is_own: true });
            }
        }
        found
    }

    fn expected<T>(&mut self, value: &Typed<'_>, what: &str) -> Option<T> {
        let is = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.error(&value.span(), format!("this is {is}, and {what} is expected"), None);
        None
    }

    fn text<'t>(&mut self, value: &'t Typed<'_>, what: &str) -> Option<&'t str> {
        match value.get_ref().as_str() {
            Some(text) => Some(text),
            None => self.expected(value, what),
        }
    }

    fn texts<'t, 'i>(&mut self, value: &'t Typed<'i>, what: &str) -> Option<Vec<(&'t str, Range<usize>)>> {
        let Some(items) = value.get_ref().as_array() else { return self.expected(value, "an array") };
        let read: Vec<_> = items.iter().map(|item| Some((self.text(item, what)?, item.span()))).collect();
        read.into_iter().collect()
    }

    fn value(&mut self, key: &Key, value: &Typed<'_>) -> Option<Value> {
        let range = value.span();
        Some(match key.kind {
            Kind::Later => return None,
            Kind::Listen => Value::Listen(self.listen(value)?),
            Kind::Command => Value::Command(self.command(value)?),
            Kind::Text | Kind::Password => {
                let text = self.text(value, "text")?;
                if text.is_empty() && key.kind == Kind::Text {
                    self.error(&range, format!("{} is empty", key.name), None);
                    return None;
                }
                Value::Text(text.to_owned())
            }
            Kind::Path => Value::Path(self.path(value)?),
            Kind::Mode => {
                let text = self.text(value, "octal digits in quotes")?;
                let mode = value::mode(text);
                Value::Mode(self.ok(&range, mode)?)
            }
            Kind::Words => {
                let text = self.text(value, "text")?;
                if text.len() > LONGEST_TEXT {
                    let message = format!("{} bytes are more than the {LONGEST_TEXT} that fit", text.len());
                    self.error(&range, message, None);
                    return None;
                }
                Value::Text(text.to_owned())
            }
            Kind::Names => {
                let names = self.texts(value, "the name of a variable")?;
                let sound: Vec<_> =
                    names.into_iter().map(|(name, range)| self.variable(name, &range)).collect();
                Value::Names(sound.into_iter().collect::<Option<_>>()?)
            }
            Kind::Environment => Value::Environment(self.environment(value)?),
            Kind::Networks => {
                let texts = self.texts(value, "a network")?;
                let read: Vec<_> = texts
                    .into_iter()
                    .map(|(text, range)| {
                        let network = self.ok(&range, value::network(text))?;
                        Some((network, self.place(range)))
                    })
                    .collect();
                Value::Networks(read.into_iter().collect::<Option<_>>()?)
            }
            Kind::Patterns => {
                let texts = self.texts(value, "the name of a file")?;
                let placed = texts.into_iter().map(|(text, range)| (text.to_owned(), self.place(range)));
                Value::Patterns(placed.collect())
            }
            Kind::Count => Value::Count(self.count(value)?),
            Kind::Choice(words) => {
                let one_of = format!("one of {}", words.join(", "));
                let text = self.text(value, &one_of)?;
                if !words.contains(&text) {
                    let message = match (key.name, text) {
                        ("stdio", "pipe") | ("stderr", "log") => {
                            format!(
                                "{} = \"{text}\" is not there yet: it comes with a later version",
                                key.name
                            )
                        }
                        _ => format!("`{text}` is none of {}", words.join(", ")),
                    };
                    let hint = keys::nearest(words.iter().copied(), text);
                    self.error(&range, message, hint.map(|word| format!("did you mean {word}?")));
                    return None;
                }
                Value::Text(text.to_owned())
            }
            Kind::Rate => {
                let text = self.text(value, "a rate such as \"10/m\"")?;
                Value::Rate(self.ok(&range, value::rate(text))?)
            }
            Kind::DurationOrFalse if value.get_ref().as_bool() == Some(false) => Value::Duration(None),
            Kind::Duration | Kind::DurationOrFalse => Value::Duration(Some(self.duration(value)?)),
            Kind::Size => {
                let text = self.text(value, "a size such as \"256MiB\"")?;
                Value::Count(self.ok(&range, value::size(text))?)
            }
            Kind::Bool => match value.get_ref().as_bool() {
                Some(yes) => Value::Bool(yes),
                None => return self.expected(value, "true or false"),
            },
            Kind::Limits => Value::Limits(self.limits(value)?),
        })
    }

    fn duration(&mut self, value: &Typed<'_>) -> Option<Duration> {
        let text = self.text(value, "a time with its unit, such as \"10s\",")?;
        self.ok(&value.span(), value::duration(text))
    }

    fn integer(&mut self, value: &Typed<'_>) -> Option<i64> {
        let Some(number) = value.get_ref().as_integer() else { return self.expected(value, "a number") };
        let digits = number.as_str().replace('_', "");
        let read = i64::from_str_radix(&digits, number.radix());
        if read.is_err() {
            self.error(&value.span(), "this number is too large", None);
        }
        read.ok()
    }

    fn count(&mut self, value: &Typed<'_>) -> Option<u64> {
        let number = self.integer(value)?;
        /// More than any system has of anything that is counted here.
        const MOST: i64 = 1 << 31;
        if !(1..=MOST).contains(&number) {
            self.error(&value.span(), format!("{number} is not from 1 to {MOST}"), None);
        }
        u64::try_from(number).ok().filter(|_| (1..=MOST).contains(&number))
    }

    fn listen(&mut self, value: &Typed<'_>) -> Option<Vec<(Address, Place)>> {
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        if items.is_empty() {
            self.error(&value.span(), "there is no address in this array", None);
            return None;
        }
        let read: Vec<_> = items
            .into_iter()
            .map(|item| {
                let bind = &self.defaults.bind;
                let addresses = match item.get_ref() {
                    DeValue::String(text) => value::listen(text, bind),
                    DeValue::Integer(_) => value::port(self.integer(item)?, bind),
                    _ => return self.expected(item, "a port or an address"),
                };
                let addresses = self.ok(&item.span(), addresses)?;
                if addresses.iter().any(|address| matches!(address, Address::Unix(_)))
                    && !CAPABILITIES.unix_sockets
                {
                    self.error(
                        &item.span(),
                        "sockets in the file system are not served on this system",
                        None,
                    );
                    return None;
                }
                let place = self.place(item.span());
                Some(addresses.into_iter().map(move |address| (address, place.clone())).collect::<Vec<_>>())
            })
            .collect();
        Some(read.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn command(&mut self, value: &Typed<'_>) -> Option<Command> {
        let range = value.span();
        match value.get_ref() {
            DeValue::String(line) => {
                self.no_trap(line, &range, false)?;
                Command::parse(&OsString::from(&**line))
                    .map_err(|fault| {
                        let meant = self.within(&range, line, fault.offset);
                        self.error(&meant, fault.message, fault.hint);
                    })
                    .ok()
            }
            DeValue::Array(_) => {
                let words = self.texts(value, "an argument")?;
                for (word, at) in &words {
                    self.no_trap(word, at, false)?;
                }
                let arguments: Vec<OsString> = words.iter().map(|(word, _)| OsString::from(word)).collect();
                Command::of_arguments(&arguments)
                    .map_err(|fault| {
                        let at = words.get(fault.offset).map_or(&range, |(_, at)| at);
                        self.error(at, fault.message, fault.hint);
                    })
                    .ok()
            }
            _ => self.expected(value, "a command line, or an array of arguments,"),
        }
    }

    /// A part of a text, where it stands as it is.
    fn within(&self, range: &Range<usize>, text: &str, offset: usize) -> Range<usize> {
        let raw = &self.source.text[range.clone()];
        let literal = raw.len() == text.len() + 2 && &raw[1..raw.len() - 1] == text.as_bytes();
        if literal && offset > 0 { range.start + 1 + offset..range.start + 2 + offset } else { range.clone() }
    }

    /// TOML's trap: in double quotes `c:\temp\new` holds a tab and a newline. In
    /// a path nobody means them; in a command they may stand, but not where a
    /// path of Windows begins.
    fn no_trap(&mut self, text: &str, range: &Range<usize>, is_path: bool) -> Option<()> {
        let letters: Vec<char> = text.chars().collect();
        let after_drive =
            |at: usize| at >= 2 && letters[at - 1] == ':' && letters[at - 2].is_ascii_alphabetic();
        let trapped = (0..letters.len()).find(|&at| letters[at].is_control() && (is_path || after_drive(at)));
        let Some(at) = trapped else { return Some(()) };
        let double = self.source.text.get(range.start) == Some(&b'"');
        let hint = double.then(|| "use single quotes, in which a backslash is a backslash".to_owned());
        let escape = letters[at].escape_default();
        self.error(range, format!("this holds a control character, {escape}"), hint);
        None
    }

    fn path(&mut self, value: &Typed<'_>) -> Option<PathBuf> {
        let text = self.text(value, "a path")?;
        if text.is_empty() {
            self.error(&value.span(), "this path is empty", None);
            return None;
        }
        self.no_trap(text, &value.span(), true)?;
        let folder = self.source.path.parent().unwrap_or(Path::new(""));
        Some(folder.join(text))
    }

    fn variable(&mut self, name: &str, range: &Range<usize>) -> Option<OsString> {
        if name.is_empty() || name.contains(['=', '\0']) {
            self.error(range, format!("`{name}` is no name of a variable"), None);
            return None;
        }
        if crate::session::environment::is_of_session(name.as_ref()) {
            let message = format!("{name} is made anew for each session, so this would be lost");
            self.error(range, message, None);
            return None;
        }
        Some(name.into())
    }

    fn environment(&mut self, value: &Typed<'_>) -> Option<Vec<(OsString, OsString)>> {
        let Some(table) = value.get_ref().as_table() else { return self.expected(value, "a table") };
        let mut variables: Vec<(OsString, OsString)> = Vec::new();
        let mut sound = true;
        for (name, value) in table {
            let read = self.variable(name.get_ref(), &name.span());
            let text = self.text(value, "text");
            let (Some(read), Some(text)) = (read, text) else {
                sound = false;
                continue;
            };
            if text.contains('\0') {
                self.error(&value.span(), "a variable can't hold a NUL character", None);
                sound = false;
            }
            if variables.iter().any(|(other, _)| sys::text::same_name(other, &read)) {
                self.error(&name.span(), "this variable is here already", None);
                sound = false;
            }
            variables.push((read, text.into()));
        }
        sound.then_some(variables)
    }

    fn limits(&mut self, value: &Typed<'_>) -> Option<Limits> {
        let Some(table) = value.get_ref().as_table() else { return self.expected(value, "a table") };
        let errors = self.diagnostics.len();
        let keys = self.keys(table, keys::LIMITS, &[], false, false);
        let count = |name: &str| match keys.get(name)?.value {
            Value::Count(count) => Some(count),
            _ => None,
        };
        let cpu_time = match keys.get("cpu_time").map(|set| (&set.value, set.place.range.clone())) {
            Some((Value::Duration(Some(Duration::ZERO)), at)) => {
                self.error(&at, "without any time nothing runs", None);
                None
            }
            Some((Value::Duration(time), _)) => *time,
            _ => None,
        };
        if let (Some(set), Some(fault)) = (keys.get("processes"), sys::limits::processes_fault()) {
            self.error(&set.place.range.clone(), fault, None);
        }
        let limits = Limits {
            memory: count("memory"),
            processes: count("processes").and_then(|count| u32::try_from(count).ok()),
            cpu_time,
            open_files: count("open_files"),
        };
        (self.diagnostics.len() == errors).then_some(limits)
    }
}
