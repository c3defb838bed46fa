//! The effective attributes of a service: its own and those of `defaults`.

use std::collections::BTreeMap;

use super::read::{Attribute, Block, Operator};
use crate::convert::words::Span;

/// Attributes that hold a set. `+=` and `-=` also change the part that comes from `defaults`.
const SETS: [&str; 8] =
    ["only_from", "no_access", "passenv", "env", "log_on_success", "log_on_failure", "enabled", "disabled"];

/// Attributes that xinetd reads in `defaults`. It ignores others there.
const IN_DEFAULTS: [&str; 23] = [
    "log_type",
    "log_on_success",
    "log_on_failure",
    "disabled",
    "enabled",
    "no_access",
    "only_from",
    "access_times",
    "instances",
    "passenv",
    "banner",
    "bind",
    "interface",
    "per_source",
    "groups",
    "banner_success",
    "banner_fail",
    "cps",
    "leaky_bucket",
    "max_load",
    "v6only",
    "umask",
    "mdns",
];

#[derive(Debug, Clone)]
pub(super) struct Value {
    pub words: Vec<String>,
    pub at: Span,
    /// A `#` follows some of the words.
    pub commented: bool,
}

impl Value {
    /// The first word, or an empty text.
    pub(super) fn first(&self) -> &str {
        self.words.first().map_or("", |word| word)
    }
}

#[derive(Debug, Default)]
pub(super) struct Attributes {
    values: BTreeMap<String, Value>,
    /// Settings that could not be applied as typed.
    pub faults: Vec<(Span, String)>,
    /// Attributes in `defaults` that have no effect there.
    pub ignored: Vec<(Span, String)>,
}

impl Attributes {
    pub(super) fn merge(defaults: Option<&Block>, block: &Block) -> Attributes {
        let mut merged = Attributes::default();
        for attribute in defaults.map_or(&[][..], |defaults| &defaults.attributes) {
            if IN_DEFAULTS.contains(&&*attribute.name) {
                // In `defaults` the values of a set add up, even with `=`.
                let adds = attribute.operator == Operator::Set && is_set(&attribute.name);
                let operator = if adds { Operator::Add } else { attribute.operator };
                merged.apply(&Attribute { operator, ..attribute.clone() });
            } else {
                merged.ignored.push((attribute.at.clone(), attribute.name.clone()));
            }
        }
        let mut own = Vec::new();
        for attribute in &block.attributes {
            let name = canonical(&attribute.name);
            if is_set(name) {
                merged.apply(attribute);
            } else {
                // As in xinetd, the first value counts and overrides `defaults`.
                if !own.contains(&name) {
                    own.push(name);
                    merged.values.remove(name);
                }
                merged.apply(attribute);
            }
        }
        merged
    }

    fn apply(&mut self, attribute: &Attribute) {
        let name = canonical(&attribute.name);
        let Attribute { operator, values, at, commented, .. } = attribute;
        let fresh = Value { words: values.clone(), at: at.clone(), commented: *commented };
        if !is_set(name) {
            if *operator != Operator::Set {
                self.faults.push((at.clone(), format!("only = works on {name}")));
            }
            // A later value is ignored, but a `#` in it counts.
            self.values.entry(name.to_owned()).or_insert(fresh).commented |= commented;
            return;
        }
        match (operator, self.values.get_mut(name)) {
            (Operator::Add, Some(known)) => {
                known.words.extend(fresh.words);
                known.at = fresh.at;
                known.commented |= fresh.commented;
            }
            (Operator::Set | Operator::Add, _) => {
                self.values.insert(name.to_owned(), fresh);
            }
            (Operator::Remove, known) => {
                let mut nothing = Vec::new();
                let words = match known {
                    Some(known) => {
                        known.commented |= fresh.commented;
                        &mut known.words
                    }
                    None => {
                        if fresh.commented {
                            self.faults.push((at.clone(), format!("a # follows a value of {name}")));
                        }
                        &mut nothing
                    }
                };
                for value in values {
                    let before = words.len();
                    words.retain(|word| word != value);
                    if words.len() == before {
                        self.faults
                            .push((at.clone(), format!("{value} cannot be taken out: it is not in {name}")));
                    }
                }
            }
        }
    }

    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(super) fn words(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], |value| &value.words)
    }

    pub(super) fn word(&self, name: &str) -> Option<&str> {
        self.words(name).first().map(|word| &**word)
    }

    /// Whether one of the words is this one, in any case of letters.
    pub(super) fn has(&self, name: &str, word: &str) -> bool {
        self.words(name).iter().any(|typed| typed.eq_ignore_ascii_case(word))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (&**name, value))
    }
}

fn is_set(name: &str) -> bool {
    SETS.contains(&name)
}

fn canonical(name: &str) -> &str {
    if name == "interface" { "bind" } else { name }
}
