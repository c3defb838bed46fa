//! The JSON Schema of the native file, made of the table of its keys, so that
//! editors complete it and mark slips while they are typed.

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, LIMITS, SERVER, SERVICE, TOP};

/// The schema, as it is checked in.
pub fn text() -> String {
    // Values of plain text and numbers can't fail to be written.
    let text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text + "\n"
}

/// The reference of the keys, as a table in Markdown for each place.
pub fn reference() -> String {
    let mut text = String::new();
    for (title, keys) in [
        ("Above all tables", TOP),
        ("`[server]`", SERVER),
        ("`[service.NAME]`, and `[defaults]` except `listen`", SERVICE),
        ("`limits = { … }`", LIMITS),
    ] {
        text += &format!("## {title}\n\n| key | value | without it | meaning |\n| --- | --- | --- | --- |\n");
        for key in keys {
            let only = key.only.as_ref().map(|only| format!(" ({} only)", only.systems)).unwrap_or_default();
            let Key { name, default, about, .. } = key;
            text += &format!("| `{name}` | {} | {default} | {about}{only} |\n", form(key.kind));
        }
        text += "\n";
    }
    text
}

fn form(kind: Kind) -> String {
    match kind {
        Kind::Listen => "a port, `\"address:port\"`, `\"unix:/path\"`, or an array".to_owned(),
        Kind::Command => "text, or an array of texts".to_owned(),
        Kind::Text | Kind::Password | Kind::Path | Kind::Words => "text".to_owned(),
        Kind::Mode => "octal digits in quotes".to_owned(),
        Kind::Names | Kind::Patterns => "an array of texts".to_owned(),
        Kind::Environment => "`{ NAME = \"value\" }`".to_owned(),
        Kind::Networks => "an array of networks or addresses".to_owned(),
        Kind::Count => "a number".to_owned(),
        Kind::Choice(words) => {
            words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
        }
        Kind::Rate => "`\"50/s\"`, `\"10/m\"`, `\"100/h\"`".to_owned(),
        Kind::Duration => "`\"500ms\"`, `\"10s\"`, `\"5m\"`, `\"10h\"`, `\"1d\"`".to_owned(),
        Kind::DurationOrFalse => "a time such as `\"60s\"`, or `false`".to_owned(),
        Kind::Size => "`\"64KiB\"`, `\"256MiB\"`, `\"1GiB\"`".to_owned(),
        Kind::Bool => "`true`, `false`".to_owned(),
        Kind::Limits => "a table, see below".to_owned(),
        Kind::Later => "not there yet".to_owned(),
    }
}

fn schema() -> Value {
    let service = properties(SERVICE);
    let mut with_tables = service.clone();
    for system in ["unix", "windows"] {
        let about = format!("Keys for {system} only; they win over those beside it.");
        with_tables.insert(system.to_owned(), json!({"description": about, "$ref": "#/$defs/keys"}));
    }
    let mut defaults = with_tables.clone();
    defaults.remove("listen");
    let object = |properties: Map<String, Value>| json!({"type": "object", "additionalProperties": false, "properties": properties});
    let mut top = properties(TOP);
    top.insert("server".to_owned(), object(properties(SERVER)));
    top.insert("defaults".to_owned(), object(defaults));
    top.insert(
        "service".to_owned(),
        json!({
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z0-9._-]{1,80}$"},
            "additionalProperties": {"$ref": "#/$defs/service"}
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wininetd",
        "description": "The native configuration file of wininetd.",
        "type": "object",
        "additionalProperties": false,
        "properties": top,
        "$defs": {"service": object(with_tables), "keys": object(service)}
    })
}

fn properties(keys: &[Key]) -> Map<String, Value> {
    let there = keys.iter().filter(|key| key.kind != Kind::Later);
    there.map(|key| (key.name.to_owned(), property(key))).collect()
}

fn property(key: &Key) -> Value {
    let text = || json!({"type": "string"});
    let array = |items: Value| json!({"type": "array", "items": items});
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
    const TIME: &str = "^[0-9]+(ms|s|m|h|d)$";
    let mut made = match key.kind {
        Kind::Listen => {
            let one = json!({"type": ["integer", "string"], "minimum": 1, "maximum": 65535});
            let several = array(one.clone());
            json!({"anyOf": [one, several]})
        }
        Kind::Command => json!({"anyOf": [text(), array(text())]}),
        Kind::Text | Kind::Password | Kind::Path => text(),
        Kind::Words => json!({"type": "string", "maxLength": crate::config::plan::LONGEST_TEXT}),
        Kind::Mode => pattern("^0?[0-7]{3}$"),
        Kind::Names | Kind::Patterns | Kind::Networks => array(text()),
        Kind::Environment => json!({"type": "object", "additionalProperties": text()}),
        Kind::Count => json!({"type": "integer", "minimum": 1}),
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Rate => pattern("^[1-9][0-9]*/[smh]$"),
        Kind::Duration => pattern(TIME),
        Kind::DurationOrFalse => json!({"anyOf": [pattern(TIME), {"const": false}]}),
        Kind::Size => pattern("^[1-9][0-9]*(B|KiB|MiB|GiB|TiB)$"),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Limits => {
            json!({"type": "object", "additionalProperties": false, "properties": properties(LIMITS)})
        }
        Kind::Later => json!(false),
    };
    if let Some(made) = made.as_object_mut() {
        let only = key.only.as_ref().map(|only| format!(" Only on {}.", only.systems)).unwrap_or_default();
        let about = format!("{} Without it: {}.{only}", key.about, key.default);
        made.insert("description".to_owned(), about.into());
    }
    made
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Compares what is checked in, or writes it anew if that is wanted.
    fn checked_in(name: &str, generated: &str, part: impl Fn(&str) -> String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
        let found = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        assert!(
            part(&found) == generated,
            "docs/{name} is not what the keys say; `cargo test --lib write_ -- --ignored` writes it anew"
        );
    }

    const BEGINS: &str = "<!-- The tables below are made of the keys. -->\n\n";

    fn below(text: &str) -> String {
        text.split_once(BEGINS).map(|(_, tables)| tables.to_owned()).unwrap_or_default()
    }

    #[test]
    fn the_schema_that_is_checked_in_is_that_of_the_keys() {
        checked_in("wininetd.schema.json", &text(), str::to_owned);
    }

    #[test]
    fn the_reference_that_is_checked_in_is_that_of_the_keys() {
        checked_in("native-file.md", &reference(), below);
    }

    #[test]
    #[ignore = "writes docs/"]
    fn write_the_schema_and_the_reference_anew() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        std::fs::write(docs.join("wininetd.schema.json"), text()).unwrap();
        let page = std::fs::read_to_string(docs.join("native-file.md")).unwrap();
        let (start, _) = page.split_once(BEGINS).unwrap();
        std::fs::write(docs.join("native-file.md"), format!("{start}{BEGINS}{}", reference())).unwrap();
    }
}
