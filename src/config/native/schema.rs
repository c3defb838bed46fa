//! The JSON Schema of the native file, for editors, made from the table of keys.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, Table, ValueKind};

pub fn schema() -> String {
    let mut tables = Map::new();
    for which in [Table::Server, Table::Defaults, Table::Service, Table::Limits, Table::Tls] {
        tables.insert(name(which, true), table(which, true));
        if !matches!(which, Table::Limits | Table::Tls) {
            tables.insert(name(which, false), table(which, false));
        }
    }
    let mut schema = table(Table::File, true);
    if let Value::Object(found) = &mut schema {
        found.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        found.insert("title".to_owned(), json!("wininetd"));
        found.insert("description".to_owned(), json!("The native configuration file of wininetd."));
        found.insert("$defs".to_owned(), Value::Object(tables));
    }
    // Formatting with `{:#}` cannot fail.
    format!("{schema:#}\n")
}

fn name(which: Table, systems: bool) -> String {
    let name = match which {
        Table::File => "file",
        Table::Server => "server",
        Table::Defaults => "defaults",
        Table::Service => "service",
        Table::Limits => "limits",
        Table::Tls => "tls",
    };
    if systems { name.to_owned() } else { format!("{name}_of_one_system") }
}

fn reference(which: Table, systems: bool) -> Value {
    json!({ "$ref": format!("#/$defs/{}", name(which, systems)) })
}

/// With `systems`, the table may hold `windows` and `unix` tables.
fn table(which: Table, systems: bool) -> Value {
    let mut properties = Map::new();
    let here = KEYS.iter().filter(|key| key.tables.contains(&which));
    for key in here.filter(|key| systems || key.kind != ValueKind::System) {
        let mut value = value(key, which);
        if let Value::Object(value) = &mut value {
            let default = match key.default {
                "" => String::new(),
                default => format!(" Default: {default}."),
            };
            value.insert("description".to_owned(), json!(format!("{}{default}", key.doc)));
        }
        properties.insert(key.name.to_owned(), value);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn value(key: &Key, which: Table) -> Value {
    let one = match key.kind {
        ValueKind::Flag => json!({ "type": "boolean" }),
        ValueKind::Count => json!({ "type": "integer", "minimum": 1 }),
        ValueKind::UpTo(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
        ValueKind::Duration(_) => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }),
        ValueKind::Size => json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" }),
        ValueKind::Rate => json!({ "type": "string", "pattern": "^[0-9]+/[smh]$" }),
        ValueKind::Text => json!({ "type": "string", "maxLength": crate::model::plan::LONGEST_TEXT }),
        ValueKind::Name | ValueKind::Path => json!({ "type": "string", "minLength": 1 }),
        ValueKind::Password => json!({ "type": "string" }),
        ValueKind::Mode => json!({ "type": "string", "pattern": "^0?[0-7]{1,3}$" }),
        ValueKind::Command => json!({ "oneOf": [{ "type": "string", "minLength": 1 }, strings(1)] }),
        ValueKind::Networks | ValueKind::Names => strings(0),
        ValueKind::Patterns => json!({ "oneOf": [{ "type": "string" }, strings(0)] }),
        ValueKind::Choice(words) => json!({ "enum": words }),
        ValueKind::Variables => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        ValueKind::Listen => {
            let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
            let text = json!({ "type": "string", "minLength": 1 });
            let several = json!({ "type": "array", "minItems": 1, "items": { "oneOf": [port, text] } });
            json!({ "oneOf": [port, text, several] })
        }
        ValueKind::Table(inner) => reference(inner, true),
        ValueKind::System => reference(which, false),
        ValueKind::Services => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$" },
            "additionalProperties": reference(Table::Service, true),
        }),
    };
    if key.off { json!({ "oneOf": [one, { "const": false }] }) } else { one }
}

fn strings(least: u32) -> Value {
    json!({ "type": "array", "minItems": least, "items": { "type": "string" } })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn page(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
    }

    #[test]
    fn the_schema_that_is_checked_in_is_that_of_the_keys() {
        let path = page("wininetd.schema.json");
        if std::env::var_os("WRITE_SCHEMA").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap().replace('\r', "");
        assert!(found == schema(), "WRITE_SCHEMA=1 cargo test --lib schema writes it anew");
    }

    #[test]
    fn reference_page_has_every_key_with_default_and_text() {
        let found = std::fs::read_to_string(page("native-file.md")).unwrap();
        for key in KEYS {
            let row = found.lines().find(|line| {
                line.starts_with(&format!("| `{}`", key.name))
                    && line.contains(key.doc)
                    && line.contains(key.default)
            });
            assert!(row.is_some(), "{}: {} ({})", key.name, key.doc, key.default);
        }
    }
}
