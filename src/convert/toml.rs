//! Writes a native file that is stable and readable.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::words::Span;
use crate::model::listen::Address;

#[derive(Default)]
pub(super) struct Document {
    pub head: Vec<String>,
    pub server: Keys,
    pub defaults: Keys,
    pub items: Vec<Item>,
}

pub(super) enum Item {
    Service(TomlEntry),
    /// An entry without a service: the reason and the original.
    Comment(Vec<String>),
}

#[derive(Default)]
pub(super) struct TomlEntry {
    /// The name before it is made unique.
    pub name: String,
    pub comments: Vec<String>,
    /// The entry is written with `enabled = false`.
    pub disabled: bool,
    pub listen: Vec<Address>,
    pub keys: Keys,
    pub typed: Span,
}

#[derive(Default)]
pub(super) struct Keys {
    here: Vec<(&'static str, TomlValue, String)>,
    /// Keys that this system does not have, with values as TOML.
    unix: Vec<(&'static str, String)>,
}

enum TomlValue {
    Toml(String),
    /// Networks of clients. Only those that can reach the service's addresses are written.
    Networks(Vec<IpNet>),
}

impl Keys {
    /// Sets a key to a value in TOML syntax.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.explain(key, value, "");
    }

    pub(super) fn explain(&mut self, key: &'static str, value: impl Into<String>, why: impl Into<String>) {
        self.here.push((key, TomlValue::Toml(value.into()), why.into()));
    }

    /// Sets a key. If this system lacks it, the key goes into the `unix` table.
    pub(super) fn set_if(&mut self, able: bool, key: &'static str, value: String) {
        if able {
            self.set(key, value);
        } else {
            self.unix.push((key, value));
        }
    }

    pub(super) fn networks(&mut self, key: &'static str, networks: Vec<IpNet>, why: &str) {
        self.here.push((key, TomlValue::Networks(networks), why.to_owned()));
    }

    fn lines(&self, listen: &[Address]) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        for (key, setting, why) in &self.here {
            let value = match setting {
                TomlValue::Toml(value) => value.clone(),
                TomlValue::Networks(networks) => {
                    let comes = networks.iter().filter(|network| can_come(network, listen));
                    let comes: Vec<String> = comes.map(ToString::to_string).collect();
                    // An empty `allow` admits no client. An empty `deny` has no effect.
                    if *key == "deny" && comes.is_empty() {
                        continue;
                    }
                    array(comes)
                }
            };
            let why = if why.is_empty() { String::new() } else { format!(" # {why}") };
            lines.push((*key, format!("{key} = {value}{why}")));
        }
        if !self.unix.is_empty() {
            lines.push(("unix", format!("unix = {}", table(self.unix.iter().cloned()))));
        }
        lines
    }

    fn render(&self, listen: &[Address], text: &mut String) {
        for (_, line) in self.lines(listen) {
            text.push_str(&line);
            text.push('\n');
        }
    }
}

/// Whether clients of a network can reach one of these addresses. The families must match.
pub(super) fn can_come(network: &IpNet, listen: &[Address]) -> bool {
    listen.iter().any(|address| match address {
        Address::Tcp(address) => address.is_ipv4() == network.addr().is_ipv4(),
        Address::Unix(_) => false,
    })
}

impl TomlEntry {
    pub(super) fn listen_on(&mut self, addresses: &[IpAddr], port: u16) {
        self.listen = addresses.iter().map(|&address| SocketAddr::new(address, port).into()).collect();
    }

    fn render(&self, text: &mut String) {
        if self.disabled {
            text.push_str("enabled = false\n");
        }
        text.push_str(&format!("{}\n", self.listen_line()));
        self.keys.render(&self.listen, text);
    }

    fn listen_line(&self) -> String {
        // A service with a path has no other address.
        match &self.listen[..] {
            [Address::Unix(path)] => format!("listen = {}", string(&format!("unix:{}", path.display()))),
            addresses => format!("listen = {}", array(addresses.iter().map(ToString::to_string))),
        }
    }

    /// The lines for a comment, without the password.
    pub(super) fn shown(&self) -> Vec<String> {
        let mut lines = vec![format!("service {}", self.name), self.listen_line()];
        let keys = self.keys.lines(&self.listen).into_iter().filter(|(key, _)| *key != "password");
        lines.extend(keys.map(|(_, line)| line));
        lines
    }
}

impl Document {
    pub(super) fn render(&self) -> String {
        self.rendered().0
    }

    /// The text of the file, and the first line of each item.
    pub(super) fn rendered(&self) -> (String, Vec<usize>) {
        let mut text = String::new();
        comments(&self.head, &mut text);
        for (name, keys) in [("server", &self.server), ("defaults", &self.defaults)] {
            if !keys.here.is_empty() {
                text.push_str(&format!("\n[{name}]\n"));
                keys.render(&[], &mut text);
            }
        }
        let mut names = HashSet::new();
        let mut first_lines = Vec::new();
        let (mut counted, mut line) = (0, 1);
        for item in &self.items {
            line += text[counted..].matches('\n').count();
            counted = text.len();
            first_lines.push(line);
            text.push('\n');
            match item {
                Item::Comment(lines) => comments(lines, &mut text),
                Item::Service(entry) => {
                    comments(&entry.comments, &mut text);
                    let name = unique(&plain(&entry.name), &mut names);
                    text.push_str(&format!("[service.{}]\n", key(&name)));
                    entry.render(&mut text);
                }
            }
        }
        (text, first_lines)
    }
}

/// Text as a TOML string: in double quotes unless it needs escapes there.
pub(super) fn string(text: &str) -> String {
    if text.contains(['\\', '"']) || text.contains(is_escaped) {
        literal(text)
    } else {
        format!("\"{text}\"")
    }
}

/// Text as a TOML string, in single quotes if possible, so that a Windows path stays as it is.
pub(super) fn literal(text: &str) -> String {
    if !text.contains('\'') && !text.contains(is_escaped) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if is_escaped(letter) => quoted.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// TOML allows a tab in a string, but a reader cannot see it.
fn is_escaped(letter: char) -> bool {
    letter.is_control()
}

pub(super) fn array<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| string(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

pub(super) fn table<T: AsRef<str>>(pairs: impl IntoIterator<Item = (T, String)>) -> String {
    let pairs: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{} = {value}", key(name.as_ref()))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn key(name: &str) -> String {
    let bare = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { string(name) }
}

/// In bytes. A native file allows more, which leaves space for a suffix such as `-2`.
const LONGEST_NAME: usize = 70;

/// Turns a name that another super-server accepts into a valid service name.
fn plain(name: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let plain: String = name.chars().map(|letter| if allowed(letter) { letter } else { '-' }).collect();
    let begins = plain.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let plain = begins[..begins.len().min(LONGEST_NAME)].trim_end_matches(['-', '.']);
    if plain.is_empty() { "service".to_owned() } else { plain.to_owned() }
}

fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name));
    let free = free.unwrap_or_default();
    taken.insert(free.clone());
    free
}

/// Comments cite other files. No character may end the comment or reach a terminal.
fn comments(lines: &[String], text: &mut String) {
    for line in lines {
        let line: String = line
            .chars()
            .map(|letter| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter })
            .collect();
        text.push_str(format!("# {line}").trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_is_read_back_as_it_was(text in any::<String>()) {
            for written in [string(&text), literal(&text)] {
                let parsed: ::toml::Table = format!("x = {written}").parse().unwrap();
                prop_assert_eq!(parsed["x"].as_str().unwrap(), &text);
            }
        }
    }

    #[test]
    fn a_windows_path_stands_in_single_quotes() {
        assert_eq!(string(r"c:\temp\new"), r"'c:\temp\new'");
        assert_eq!(literal("it's"), "\"it's\"");
    }

    #[test]
    fn services_of_one_name_are_told_apart() {
        let entry = |name: &str| Item::Service(TomlEntry { name: name.to_owned(), ..TomlEntry::default() });
        let document =
            Document { items: vec![entry("a"), entry("a"), entry("../_x y")], ..Document::default() };
        let text = document.render();
        for name in ["[service.a]", "[service.a-2]", "[service.x-y]"] {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn text_cannot_escape_from_a_comment() {
        let items = vec![Item::Comment(vec!["a\nlisten = 80\r\u{1b}".to_owned()])];
        let document = Document { items, ..Document::default() };
        assert!(document.render().parse::<::toml::Table>().unwrap().is_empty());
    }
}
