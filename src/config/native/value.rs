//! Reads a key's value as its type, or reports an error.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::{DeInteger, DeValue};
use zeroize::Zeroizing;

use super::address;
use super::keys::ValueKind;
use super::reader::{Cell, all};
use super::report::At;
use super::text::SINGLE_QUOTES;
use super::units::{self, Fault};
use crate::config::session_variables::is_of_session;
use crate::model::endings::{Leftovers, OnStop};
use crate::model::limits::Rate;
use crate::model::listen::Address;
use crate::model::plan::{EventLogExtent, LONGEST_TEXT, Stderr, Stdio, WhenFull};

pub(super) trait Typed: Sized {
    const KIND: ValueKind;

    /// Reports what is wrong with the value.
    fn read(cell: &mut Cell<'_, '_>) -> Option<Self>;
}

#[derive(Clone, Copy)]
pub(super) struct Mode(pub u32);

/// Only checks the type: `include` reads the patterns earlier.
#[derive(Clone)]
pub(super) struct Patterns;

macro_rules! typed {
    ($($type:ty: $kind:expr, |$cell:ident| $read:expr;)+) => { $(
        impl Typed for $type {
            const KIND: ValueKind = $kind;

            fn read($cell: &mut Cell<'_, '_>) -> Option<Self> {
                $read
            }
        }
    )+ };
}

macro_rules! choices {
    ($($type:ident { $($word:literal => $choice:ident),+ })+) => { typed! { $(
        $type: ValueKind::Choice(&[$($word),+]), |cell| match cell.text()? {
            $($word => Some($type::$choice),)+
            _ => cell.unwanted(),
        };
    )+ } };
}

choices! {
    EventLogExtent { "events" => Events, "all" => All }
    Leftovers { "end" => End, "leave" => Leave }
    OnStop { "end" => End, "leave" => Leave }
    Stderr { "log" => Log, "client" => Client, "discard" => Discard }
    Stdio { "socket" => Socket, "pipe" => Pipe }
    WhenFull { "wait" => Wait, "refuse" => Refuse }
}

typed! {
    bool: ValueKind::Flag, |cell| cell.value.get_ref().as_bool().or_else(|| cell.mistyped());
    usize: ValueKind::Count, |cell| cell.count();
    u64: ValueKind::Size, |cell| cell.with_unit("size", units::SIZE_HINT, units::size);
    Rate: ValueKind::Rate, |cell| cell.with_unit("rate", units::RATE_HINT, units::rate);
    Duration: ValueKind::Duration(0), |cell| cell.time();
    Mode: ValueKind::Mode, |cell| cell.text().and_then(|text| cell.said(units::mode(text).map(Mode)));
    Vec<u8>: ValueKind::Text, |cell| cell.sent_text();
    Zeroizing<String>: ValueKind::Password, |cell| cell.text().map(|text| text.to_owned().into());
    String: ValueKind::Name, |cell| cell.plain_text().map(str::to_owned);
    PathBuf: ValueKind::Path, |cell| cell.path();
    Vec<(Address, At)>: ValueKind::Listen, |cell| cell.addresses();
    Vec<(IpNet, At)>: ValueKind::Networks, |cell| cell.networks();
    Vec<String>: ValueKind::Names, |cell| cell.variable_names();
    Vec<(String, String)>: ValueKind::Variables, |cell| cell.variables();
    Patterns: ValueKind::Patterns, |cell| cell.each(|cell| cell.text().map(|_| ())).map(|_| Patterns);
}

fn number(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl<'c> Cell<'c, '_> {
    fn count(&mut self) -> Option<usize> {
        let DeValue::Integer(integer) = self.value.get_ref() else { return self.mistyped() };
        let most = if let ValueKind::UpTo(most) = self.key.kind { most } else { u64::MAX };
        let count = number(integer).filter(|count| (1..=most).contains(count));
        count.and_then(|count| count.try_into().ok()).or_else(|| self.unwanted())
    }

    fn time(&mut self) -> Option<Duration> {
        let time = self.with_unit("time", units::DURATION_HINT, units::duration)?;
        let least = if let ValueKind::Duration(least) = self.key.kind { least } else { 0 };
        if time >= Duration::from_millis(least) {
            return Some(time);
        }
        let message = format!("`{}` is at least {least} ms", self.key.name);
        let hint = self.key.off.then(|| "`false` is for none".to_owned());
        self.fault(Fault { message, hint })
    }

    fn sent_text(&mut self) -> Option<Vec<u8>> {
        let text = self.text()?;
        if text.len() <= LONGEST_TEXT {
            return Some(text.as_bytes().to_vec());
        }
        self.fault(Fault::plain(format!("this has {} bytes: at most {LONGEST_TEXT} are sent", text.len())))
    }

    /// A relative path is relative to the folder of the file.
    fn path(&mut self) -> Option<PathBuf> {
        let text = self.plain_text()?;
        let folder = self.reader.report.sources()[self.context.source].path.parent();
        Some(folder.map(PathBuf::from).unwrap_or_default().join(text))
    }

    fn addresses(&mut self) -> Option<Vec<(Address, At)>> {
        if self.value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
            return self.fault(Fault::plain("no address to listen on"));
        }
        let addresses = self.each(|cell| {
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

    fn networks(&mut self) -> Option<Vec<(IpNet, At)>> {
        let Some(array) = self.value.get_ref().as_array() else { return self.mistyped() };
        // Keep valid networks beside an invalid one, for further checks.
        let networks = self.each(|cell| {
            let text = cell.text()?;
            Some(cell.said(address::network(text)).map(|network| (network, cell.at())))
        })?;
        let networks: Vec<_> = networks.into_iter().flatten().collect();
        // A list without any valid network must not look like an empty list.
        (array.is_empty() || !networks.is_empty()).then_some(networks)
    }

    fn variable_names(&mut self) -> Option<Vec<String>> {
        if self.value.get_ref().as_array().is_none() {
            return self.mistyped();
        }
        self.each(|cell| {
            let (name, at) = (cell.text()?, cell.at());
            cell.variable_name(&at, name)
        })
    }

    fn variables(&mut self) -> Option<Vec<(String, String)>> {
        let value = self.value;
        let Some(table) = value.get_ref().as_table() else { return self.mistyped() };
        let variables = table.iter().map(|(name, value)| {
            let name = self.variable_name(&self.context.at(name.span()), name.get_ref())?;
            let text = value.get_ref().as_str().filter(|text| !text.contains('\0'));
            if text.is_none() {
                let fault = Fault::plain("the value of a variable is a string without NUL");
                self.reader.report.error(&self.context.at(value.span()), fault);
            }
            Some((name, text?.to_owned()))
        });
        all(variables)
    }

    fn unwanted<T>(&mut self) -> Option<T> {
        self.fault(Fault::plain(format!("`{}` is {}", self.key.name, self.key.kind.wanted())))
    }

    fn with_unit<T>(&mut self, what: &str, hint: &str, read: fn(&str) -> Result<T, Fault>) -> Option<T> {
        match self.value.get_ref() {
            DeValue::String(text) => self.said(read(text)),
            DeValue::Integer(_) | DeValue::Float(_) => {
                self.fault(Fault::new(format!("a {what} has a unit"), hint))
            }
            _ => self.mistyped(),
        }
    }

    /// A name or path without control characters. In a path they come from a backslash read as an
    /// escape.
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
