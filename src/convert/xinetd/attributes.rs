//! What holds for a service: its own attributes, and those of `defaults`.

use std::collections::BTreeMap;

use super::read::{Attribute, Block, Operator, Span};

/// Attributes whose values are a set: `+=` and `-=` work on them, also on what
/// `defaults` put into it.
const SETS: [&str; 8] =
    ["only_from", "no_access", "passenv", "env", "log_on_success", "log_on_failure", "enabled", "disabled"];

/// What `defaults` may set; xinetd ignores the rest there.
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

/// A value and where it was set last.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// The words behind the operator.
    pub words: Vec<String>,
    /// Where.
    pub at: Span,
    /// A `#` stood behind some of the words.
    pub commented: bool,
}

/// The attributes of one service, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    values: BTreeMap<String, Value>,
    /// What could not be applied as it was typed.
    pub faults: Vec<(Span, String)>,
    /// What stands in `defaults` and has no effect there.
    pub ignored: Vec<(Span, String)>,
}

impl Attributes {
    /// The attributes of `block`, with those of `defaults` that it has not set.
    pub(super) fn merge(defaults: Option<&Block>, block: &Block) -> Attributes {
        let mut merged = Attributes::default();
        for attribute in defaults.map_or(&[][..], |defaults| &defaults.attributes) {
            if IN_DEFAULTS.contains(&&*attribute.name) {
                // Values add up there, whatever the operator.
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
                // The first counts, as in xinetd, over that of the defaults.
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
            // A later value is not used, but what is wrong with it counts.
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
                            self.faults.push((at.clone(), format!("a # stands behind a value of {name}")));
                        }
                        &mut nothing
                    }
                };
                for value in values {
                    let before = words.len();
                    words.retain(|word| word != value);
                    if words.len() == before {
                        self.faults
                            .push((at.clone(), format!("{value} can't be taken out: it is not in {name}")));
                    }
                }
            }
        }
    }

    /// An attribute, if it is set.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The words of an attribute; none if it is not set.
    pub(super) fn words(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], |value| &value.words)
    }

    /// The first word of an attribute.
    pub(super) fn word(&self, name: &str) -> Option<&str> {
        self.words(name).first().map(|word| &**word)
    }

    /// The names of all that are set.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (&**name, value))
    }
}

fn is_set(name: &str) -> bool {
    SETS.contains(&name)
}

/// One name where xinetd has two.
fn canonical(name: &str) -> &str {
    if name == "interface" { "bind" } else { name }
}
