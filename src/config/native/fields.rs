//! A table of the file becomes its fields: every key known, every value right
//! by itself, what is for another system read and laid aside.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Reader;
use super::keys::{Key, Kind, Table};
use super::report::At;
use super::units::Fault;
use super::value::Value;
use crate::model::limits::Rate;
use crate::sys::CAPABILITIES;

/// Where the reader is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// In which file.
    pub source: usize,
    /// In a table for another system.
    pub foreign: bool,
    /// In a table for one system.
    in_system: bool,
}

impl Context {
    /// In this file.
    pub fn of(source: usize) -> Context {
        Context { source, foreign: false, in_system: false }
    }

    /// A part of the file.
    pub fn at(self, range: Range<usize>) -> At {
        At { source: self.source, range }
    }
}

/// What a table says.
#[derive(Clone, Default)]
pub(super) struct Fields {
    here: BTreeMap<&'static str, Field>,
    /// What stands in the table for another system.
    elsewhere: BTreeSet<&'static str>,
}

/// What a key says.
#[derive(Clone)]
pub(super) struct Field {
    /// Where its value stands.
    pub at: At,
    /// Whether it was typed for this service, and not for all.
    pub own: bool,
    /// The value; none, if it was wrong.
    pub value: Option<Value>,
}

impl Fields {
    /// Whether the key stands there, right or wrong.
    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// Whether it stands there for another system.
    pub fn has_elsewhere(&self, name: &str) -> bool {
        self.elsewhere.contains(name)
    }

    /// The key, right or wrong.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.here.get(name)
    }

    /// The key's value.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.field(name)?.value.as_ref()
    }

    /// Whether it is `false`, for none.
    pub fn is_off(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Off))
    }

    /// Whether it is `true`, if it says so.
    pub fn flag(&self, name: &str) -> Option<bool> {
        if let Value::Flag(flag) = self.value(name)? { Some(*flag) } else { None }
    }

    /// A count or bytes, as the number that is wanted.
    pub fn number<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        if let Value::Number(number) = self.value(name)? { T::try_from(*number).ok() } else { None }
    }

    /// A time.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        if let Value::Duration(time) = self.value(name)? { Some(*time) } else { None }
    }

    /// A rate.
    pub fn rate(&self, name: &str) -> Option<Rate> {
        if let Value::Rate(rate) = self.value(name)? { Some(*rate) } else { None }
    }

    /// A text or a name.
    pub fn text(&self, name: &str) -> Option<&str> {
        if let Value::Text(text) = self.value(name)? { Some(text) } else { None }
    }

    /// A path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        if let Value::Path(path) = self.value(name)? { Some(path.clone()) } else { None }
    }

    /// A word of a choice.
    pub fn choice(&self, name: &str) -> Option<&'static str> {
        if let Value::Choice(word) = self.value(name)? { Some(word) } else { None }
    }

    /// These for a service, with what it does not set taken from `defaults`.
    /// A service with a user of its own does not get another one's password or
    /// group, nor one with a command of its own another program's name.
    pub fn over(mut self, defaults: &Fields) -> Fields {
        let (own_user, own_command) = (self.has("user"), self.has("command"));
        for (name, field) in &defaults.here {
            let of_another =
                own_user && matches!(*name, "password" | "group") || own_command && *name == "argv0";
            if !of_another && !self.has(name) {
                self.here.insert(name, Field { own: false, ..field.clone() });
            }
        }
        self
    }
}

impl Reader<'_> {
    /// Reads a table.
    pub fn fields(&mut self, context: Context, table: Table, found: &DeTable<'_>) -> Fields {
        let mut fields = Fields::default();
        let mut for_system = Fields::default();
        for (name, value) in in_order(found) {
            let at_key = context.at(name.span());
            let key = match Key::find(name.get_ref(), table) {
                Ok(key) => key,
                Err(fault) => {
                    self.report.error(&at_key, fault);
                    continue;
                }
            };
            if key.kind == Kind::System {
                let own = self.for_system(context, table, key, value);
                for_system.here.extend(own.here);
                for_system.elsewhere.extend(own.elsewhere);
                continue;
            }
            let off = key.off && value.get_ref().as_bool() == Some(false);
            if let Some(why) = key.fault().filter(|_| !context.foreign && !off) {
                self.cannot(&at_key, table, key.name, why);
                fields.here.insert(key.name, Field { at: at_key, own: true, value: None });
                continue;
            }
            if let Some(feature) = key.unbuilt.filter(|_| !context.foreign && !off) {
                let message = format!("`{}`: this program was built without it", key.name);
                let hint = format!("it is there with the cargo feature `{feature}`");
                self.report.error(&at_key, Fault::new(message, &hint));
                fields.here.insert(key.name, Field { at: at_key, own: true, value: None });
                continue;
            }
            let field =
                Field { at: context.at(value.span()), own: true, value: self.value(context, key, value) };
            fields.here.insert(key.name, field);
        }
        fields.here.extend(for_system.here);
        fields.elsewhere = for_system.elsewhere;
        fields
    }

    /// Says that this system can't honour something.
    pub fn cannot(&mut self, at: &At, table: Table, name: &str, why: &str) {
        let other = if CAPABILITIES.table == "unix" { "windows" } else { "unix" };
        let table = match table {
            Table::Server => "server",
            Table::Defaults => "defaults",
            Table::File | Table::Service | Table::Limits | Table::Tls => "service.NAME",
        };
        let hint = format!("what is for the other system stands in a table of its own: [{table}.{other}]");
        self.report.error(at, Fault { message: format!("`{name}`: {why}"), hint: Some(hint) });
    }

    /// The fields of `windows` or `unix`, if that is this system.
    fn for_system(
        &mut self,
        context: Context,
        table: Table,
        key: &Key,
        value: &Spanned<DeValue<'_>>,
    ) -> Fields {
        let at = context.at(value.span());
        if context.in_system {
            self.report.error(&at, Fault::plain("a table for one system does not hold another one"));
            return Fields::default();
        }
        let DeValue::Table(found) = value.get_ref() else {
            self.mistyped::<()>(&at, key, value.get_ref());
            return Fields::default();
        };
        let foreign = key.name != CAPABILITIES.table;
        let fields = self.fields(Context { foreign, in_system: true, ..context }, table, found);
        if foreign {
            Fields { here: BTreeMap::new(), elsewhere: fields.here.into_keys().collect() }
        } else {
            fields
        }
    }
}

/// The keys of a table, in the order of the text.
pub(super) fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut all: Vec<_> = table.iter().collect();
    all.sort_by_key(|(key, _)| key.span().start);
    all
}
