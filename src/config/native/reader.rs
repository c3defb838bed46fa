//! Reads tables. Every key must be known, and every value is checked alone. A table for the other
//! system is checked and not used.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{Key, Table, ValueKind};
use super::raw::{Field, Raw, Setting};
use super::report::{At, Report};
use super::units::Fault;
use super::value::Typed;
use crate::config::defaults::Defaults;
use crate::sys::CAPABILITIES;

pub(super) struct NativeReader<'a> {
    pub report: Report<'a>,
    pub defaults: &'a Defaults,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub source: usize,
    pub table: Table,
    pub foreign: bool,
    /// In either of the tables `windows` and `unix`.
    in_system: bool,
}

impl Context {
    pub fn of(source: usize) -> Context {
        Context { source, table: Table::File, foreign: false, in_system: false }
    }

    pub fn in_table(self, table: Table) -> Context {
        Context { table, ..self }
    }

    pub fn at(self, range: Range<usize>) -> At {
        At { source: self.source, range }
    }
}

pub(super) struct Cell<'c, 'r> {
    pub reader: &'c mut NativeReader<'r>,
    pub context: Context,
    pub key: &'static Key,
    pub value: &'c Spanned<DeValue<'c>>,
    at_key: At,
}

impl Cell<'_, '_> {
    /// Reads the value. Reports the key instead if it cannot be used here.
    pub fn field<T: Typed>(&mut self) -> Field<T> {
        let is_off = self.key.off && self.value.get_ref().as_bool() == Some(false);
        match self.refused().filter(|_| !self.context.foreign && !is_off) {
            Some(fault) => {
                self.reader.report.error(&self.at_key, fault);
                Field::of(self.at_key.clone(), Setting::Wrong)
            }
            None if is_off => Field::of(self.at(), Setting::Off),
            None => Field::of(self.at(), T::read(self).map_or(Setting::Wrong, Setting::Is)),
        }
    }

    /// Why the key cannot be used in this file, on this system or in this build.
    fn refused(&self) -> Option<Fault> {
        let (Key { name, .. }, Context { source, table, .. }) = (self.key, self.context);
        if source > 0 && table == Table::File && self.key.kind != ValueKind::Services {
            let first = self.reader.report.sources()[0].path.display().to_string();
            let message = format!("`{name}` belongs in the file that includes the others: {first}");
            return Some(Fault::plain(message));
        }
        if let Some(why) = self.key.fault() {
            return Some(cannot(table, name, why));
        }
        self.key.unbuilt.map(|feature| {
            let message = format!("`{name}`: this program was built without it");
            Fault::new(message, &format!("build with the cargo feature `{feature}`"))
        })
    }
}

pub(super) fn cannot(table: Table, name: &str, why: &str) -> Fault {
    let other = if CAPABILITIES.table == "unix" { "windows" } else { "unix" };
    let table = match table {
        Table::Server => "server",
        Table::Defaults => "defaults",
        Table::File | Table::Service | Table::Limits | Table::Tls => "service.NAME",
    };
    let hint = format!("keys for the other system stand in a table of their own: [{table}.{other}]");
    Fault::new(format!("`{name}`: {why}"), &hint)
}

impl NativeReader<'_> {
    pub fn table<T: Raw>(&mut self, context: Context, found: &DeTable<'_>) -> T {
        let mut here = T::default();
        let mut for_system = T::default();
        for (name, value) in in_order(found) {
            let at_key = context.at(name.span());
            match Key::find(name.get_ref(), context.table) {
                Ok(key) => {
                    let mut cell = Cell { reader: self, context, key, value, at_key };
                    if key.kind == ValueKind::System {
                        cell.for_system(&mut for_system);
                    } else {
                        here.read(&mut cell);
                    }
                }
                Err(fault) => self.report.error(&at_key, fault),
            }
        }
        for_system.fill(&here, true, &[]);
        for_system
    }
}

impl<'c> Cell<'c, '_> {
    /// Reads a `windows` or `unix` table. Only this system's values are used.
    fn for_system<T: Raw>(&mut self, fields: &mut T) {
        if self.context.in_system {
            self.fault::<()>(Fault::plain("a table for one system cannot contain another"));
            return;
        }
        let DeValue::Table(found) = self.value.get_ref() else {
            self.mistyped::<()>();
            return;
        };
        let foreign = self.key.name != CAPABILITIES.table;
        let read: T = self.reader.table(Context { foreign, in_system: true, ..self.context }, found);
        if foreign {
            fields.elsewhere().extend(found.keys().map(|key| key.get_ref().to_string()));
        } else {
            fields.fill(&read, true, &[]);
        }
    }

    pub fn at(&self) -> At {
        self.context.at(self.value.span())
    }

    pub fn fault<T>(&mut self, fault: Fault) -> Option<T> {
        let at = self.at();
        self.reader.report.error(&at, fault);
        None
    }

    pub fn said<T>(&mut self, found: Result<T, Fault>) -> Option<T> {
        found.map_or_else(|fault| self.fault(fault), Some)
    }

    /// Reports a value of the wrong type.
    pub fn mistyped<T>(&mut self) -> Option<T> {
        let (key, found) = (self.key, called(self.value.get_ref()));
        let or_false = if key.off { ", or `false` for none" } else { "" };
        self.fault(Fault::plain(format!(
            "`{}` is {}{or_false}; this is {found}",
            key.name,
            key.kind.wanted()
        )))
    }

    pub fn text(&mut self) -> Option<&'c str> {
        let value = self.value;
        value.get_ref().as_str().or_else(|| self.mistyped())
    }

    /// Reads each item of an array, or a single value. Checks all items before it returns `None`
    /// for an invalid one.
    pub fn each<T>(&mut self, read: impl Fn(&mut Cell<'_, '_>) -> Option<T>) -> Option<Vec<T>> {
        let value = self.value;
        let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        let cell = |value| {
            let (reader, at_key) = (&mut *self.reader, self.at_key.clone());
            read(&mut Cell { reader, context: self.context, key: self.key, value, at_key })
        };
        all(items.into_iter().map(cell))
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

/// Evaluates all items, also after a `None`.
pub(super) fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

/// In the order of the text: `DeTable` does not keep it.
pub(super) fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut all: Vec<_> = table.iter().collect();
    all.sort_by_key(|(key, _)| key.span().start);
    all
}
