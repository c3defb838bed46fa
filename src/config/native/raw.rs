//! Tables as typed: structs whose fields come from the table of keys.

use std::collections::BTreeSet;

use super::reader::Cell;
use super::report::At;

#[derive(Clone)]
pub(super) struct Field<T>(Option<Given<T>>);

#[derive(Clone)]
struct Given<T> {
    at: At,
    /// Typed in the service's own table, not in `[defaults]`.
    own: bool,
    setting: Setting<T>,
}

#[derive(Clone)]
pub(super) enum Setting<T> {
    /// Reported as an error.
    Wrong,
    /// `false`, meaning none.
    Off,
    Is(T),
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Field(None)
    }
}

impl<T> Field<T> {
    pub fn of(at: At, setting: Setting<T>) -> Field<T> {
        Field(Some(Given { at, own: true, setting }))
    }

    /// The position of the value, also of an invalid one; of a refused key that of the key.
    pub fn at(&self) -> Option<&At> {
        self.0.as_ref().map(|given| &given.at)
    }

    /// The position, only if the value is from the service's own table.
    pub fn own_at(&self) -> Option<&At> {
        self.0.as_ref().filter(|given| given.own).map(|given| &given.at)
    }

    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }

    pub fn is_off(&self) -> bool {
        self.0.as_ref().is_some_and(|given| matches!(given.setting, Setting::Off))
    }

    pub fn get(&self) -> Option<&T> {
        if let Setting::Is(value) = &self.0.as_ref()?.setting { Some(value) } else { None }
    }

    pub fn value(&self) -> Option<T>
    where
        T: Clone,
    {
        self.get().cloned()
    }

    pub fn fill(&mut self, other: &Field<T>, own: bool)
    where
        T: Clone,
    {
        if self.0.is_none() {
            self.0 = other.0.clone().map(|given| Given { own, ..given });
        }
    }
}

pub(super) trait Raw: Default {
    fn read(&mut self, cell: &mut Cell<'_, '_>);

    /// Takes missing values from another table, except for the keys `without`.
    fn fill(&mut self, other: &Self, own: bool, without: &[&str]);

    /// Keys of the nested table for the other system.
    fn elsewhere(&mut self) -> &mut BTreeSet<String>;
}

/// Makes the structs and `KEYS`. Each line is a key: its name, its type and the arguments of `key`
/// in `keys.rs`.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident($table:ident) {
        $($field:ident: $type:ty [$($key:tt)*] $(.$method:ident($($argument:tt)*))*;)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Default)]
            pub(super) struct $name {
                $(pub $field: Field<$type>,)*
                pub elsewhere: BTreeSet<String>,
            }

            impl Raw for $name {
                fn read(&mut self, cell: &mut Cell<'_, '_>) {
                    match cell.key.name {
                        $(stringify!($field) => self.$field = cell.field(),)*
                        _ => {}
                    }
                }

                fn fill(&mut self, other: &Self, own: bool, without: &[&str]) {
                    $(if !without.contains(&stringify!($field)) {
                        self.$field.fill(&other.$field, own);
                    })*
                }

                fn elsewhere(&mut self) -> &mut BTreeSet<String> {
                    &mut self.elsewhere
                }
            }

            impl Typed for $name {
                const KIND: ValueKind = ValueKind::Table(Table::$table);

                fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
                    match (cell.key.kind, cell.value.get_ref()) {
                        (ValueKind::Table(table), DeValue::Table(found)) => {
                            Some(cell.reader.table(cell.context.in_table(table), found))
                        }
                        _ => cell.mistyped(),
                    }
                }
            }
        )*

        /// In the order of the reference.
        pub(super) const KEYS: &[Key] = &[
            $($(key::<$type>(stringify!($field), $($key)*)$(.$method($($argument)*))*,)*)*
            system("windows", "Keys of the table that it stands in, for Windows only."),
            system("unix", "Keys of the table that it stands in, for Unix only."),
        ];
    };
}
pub(super) use tables;
