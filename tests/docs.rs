//! Pages that name tests tell the truth: each test that they cite is there, and
//! each weakness and promise cites one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::path::Path;

/// Pages whose claims are shown by tests. One that is not there yet cites nothing.
const PAGES: [&str; 3] = ["cve.md", "failure-behaviour.md", "threat-model.md"];

fn text(path: &str) -> Option<String> {
    // Wine's tests run where the files are, and Windows checks out CRLF.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).ok().map(|text| text.replace("\r\n", "\n"))
}

fn page(name: &str) -> Option<String> {
    text(&format!("docs/{name}"))
}

/// What stands between backticks and names a test: `tests/FILE.rs::NAME` or
/// `src/PATH.rs::NAME`.
fn cited(page: &str) -> Vec<(&str, &str)> {
    let quoted = page.split('`').skip(1).step_by(2);
    let cited = quoted.filter(|quoted| quoted.starts_with("tests/") || quoted.starts_with("src/"));
    cited.filter_map(|quoted| quoted.split_once("::")).collect()
}

/// Whether this text has a test of this name: a function with the attribute before it.
fn has_test(text: &str, name: &str) -> bool {
    let functions = ["fn ", "async fn "].map(|start| format!("{start}{name}("));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    (0..lines.len()).filter(|&at| functions.iter().any(|function| lines[at].starts_with(function))).any(
        |at| {
            let above = lines[..at].iter().rev();
            // A property is a test by proptest's word for it, which is the same.
            let mut marks = above.take_while(|line| !line.is_empty() && **line != "}");
            marks.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        },
    )
}

#[test]
fn every_test_that_a_page_cites_is_there() {
    let mut missing = Vec::new();
    for name in PAGES {
        let Some(page) = page(name) else { continue };
        let cited = cited(&page);
        assert!(cited.len() > 10, "{name} cites {} tests", cited.len());
        for (file, test) in cited {
            if !text(file).is_some_and(|text| has_test(&text, test)) {
                missing.push(format!("{name}: {file}::{test}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_known_weakness_cites_a_test() {
    let page = page("cve.md").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let rows = rows.filter(|line| !line.starts_with("| weakness "));
    let without: Vec<&str> = rows.clone().filter(|row| cited(row).is_empty()).collect();
    assert!(rows.count() > 30);
    assert!(without.is_empty(), "{}", without.join("\n"));
}

/// An example of others had a file at a place where anybody could make it first.
#[test]
fn examples_keep_nothing_where_everybody_can_write() {
    for name in ["native.toml", "quickstart.conf", "servers.conf"] {
        let text = text(&format!("examples/{name}")).unwrap();
        for shared in ["/tmp", "/var/tmp", r"\Temp\", "%TEMP%", r"C:\ProgramData"] {
            assert!(!text.contains(shared), "{name}: {shared}");
        }
    }
}

#[test]
fn what_is_cited_is_recognised() {
    let page = "`src/a.rs` and `tests/b.rs::c`, `tests/b.rs`\n`src/x/y.rs::z`";
    assert_eq!(cited(page), [("tests/b.rs", "c"), ("src/x/y.rs", "z")]);
    let text = "#[test]\n#[ignore = \"long\"]\nfn c() {\n}\n\nfn d() {\n}\n    #[test]\n    fn e() {";
    assert!(has_test(text, "c") && has_test(text, "e"));
    assert!(!has_test(text, "d") && !has_test(text, "f"));
}
