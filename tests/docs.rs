//! The documentation is true: cited tests exist, each weakness and promise cites a test, links have
//! targets, and each option has a row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::run;
use wininetd::log::event::{EventKind, LogEvent, Outcome, Record};
use wininetd::model::exit_status::ExitStatus;
use wininetd::model::ids::SessionId;
use wininetd::model::level::Level;

/// Pages that cite tests for their claims. A page that does not exist cites nothing.
const PAGES: [&str; 3] = ["cve.md", "failure-behaviour.md", "threat-model.md"];

fn text(path: &str) -> Option<String> {
    // Wine runs these tests on the same files, and Windows checks out CRLF.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).ok().map(|text| text.replace("\r\n", "\n"))
}

fn page(name: &str) -> Option<String> {
    text(&format!("docs/{name}"))
}

/// The tests that a page cites in backticks, as `tests/FILE.rs::NAME` or `src/PATH.rs::NAME`.
fn cited(page: &str) -> Vec<(&str, &str)> {
    let quoted = page.split('`').skip(1).step_by(2);
    let cited = quoted.filter(|quoted| quoted.starts_with("tests/") || quoted.starts_with("src/"));
    cited.filter_map(|quoted| quoted.split_once("::")).collect()
}

fn has_test(text: &str, name: &str) -> bool {
    let functions = ["fn ", "async fn "].map(|start| format!("{start}{name}("));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    (0..lines.len()).filter(|&at| functions.iter().any(|function| lines[at].starts_with(function))).any(
        |at| {
            let above = lines[..at].iter().rev();
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

/// The rows of a page's tables, as cells.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    rows.map(|row| row.trim_end_matches('|').split(" |").map(str::trim).collect()).collect()
}

/// Both pages give the number, name, level and fields of each event.
#[test]
fn the_pages_have_every_event_as_the_table_does() {
    let (log, events) = (page("log.md").unwrap(), page("events.md").unwrap());
    let (log, events) = (rows(&log), rows(&events));
    let mut faults = Vec::new();
    assert!(
        EventKind::ALL.is_sorted_by_key(|kind| kind.id),
        "the Windows message file takes only rising numbers"
    );
    for kind in EventKind::ALL {
        let (id, name) = (kind.id.to_string(), format!("`{}`", kind.name));
        let (level, viewer) = match kind.level {
            Level::Error => ("error", "error"),
            Level::Warning => ("warning", "warning"),
            Level::Info => ("info", "information"),
        };
        let has_id = |row: &&Vec<&str>| row[0].split(", ").any(|found| found == id);
        let documents = |row: &&Vec<&str>| {
            // Another table documents the fields of a session.
            let fields = kind.fields.iter().filter(|field| !["level", "record"].contains(field));
            let mut rest = row[4];
            row[1] == name
                && row[2].contains(level)
                && fields.map(|field| format!("`{field}`")).all(|field| {
                    let found = rest.split_once(&field);
                    rest = found.map_or("", |(_, behind)| behind);
                    found.is_some()
                })
        };
        if !log.iter().find(has_id).is_some_and(|row| documents(&row)) {
            let fields: Vec<_> = kind.fields.iter().map(|field| format!("`{field}`")).collect();
            faults.push(format!("log.md: | {id} | {name} | {level} | … | {} |", fields.join(", ")));
        }
        let advises = |row: &&Vec<&str>| {
            let in_viewer = row[2].starts_with("no") || row[2].starts_with(viewer);
            row[1].starts_with(&name) && in_viewer && !row[3].is_empty()
        };
        if !events.iter().find(has_id).is_some_and(|row| advises(&row)) {
            faults.push(format!("events.md: | {id} | {name} | {viewer} (or no) | what to do |"));
        }
    }
    let known = |row: &Vec<&str>| {
        let mut ids = row[0].split(", ").filter_map(|id| id.parse::<u32>().ok());
        ids.all(|id| EventKind::ALL.iter().any(|kind| kind.id == id))
    };
    let strange = log.iter().chain(&events).filter(|row| !known(row));
    faults.extend(strange.map(|row| format!("no event has the number of this row: {row:?}")));
    assert!(faults.is_empty(), "the pages should have these rows:\n{}", faults.join("\n"));
}

#[test]
fn the_log_page_has_every_field_of_a_record() {
    let page = page("log.md").unwrap();
    let peer = "192.0.2.1:1".parse().map(wininetd::model::peer::Peer::Inet).unwrap();
    for exit in [ExitStatus::Code(0), ExitStatus::Signal(1)] {
        let record = Record {
            service: String::new(),
            session: SessionId(1),
            peer,
            client: Some(peer),
            local: "192.0.2.2:2".parse().map(wininetd::model::listen::Address::Tcp).unwrap(),
            user: Some(String::new()),
            pid: Some(1),
            outcome: Outcome::Failed,
            reason: Some(String::new()),
            step: Some(""),
            left: false,
            exit: Some(exit),
            seconds: Duration::ZERO,
            linger_seconds: Duration::ZERO,
            bytes_in: Some(0),
            bytes_out: Some(0),
        };
        LogEvent::session(record).fields(&mut |name, _| {
            let documents = |row: &Vec<&str>| row[0].split(", ").any(|field| field == format!("`{name}`"));
            assert!(rows(&page).iter().any(documents), "log.md: | `{name}` | what it means |");
        });
    }
}

/// The example of another server kept a file in a folder where any user could create it first.
#[test]
fn examples_use_no_world_writable_folder() {
    for name in ["native.toml", "quickstart.conf", "servers.conf"] {
        let text = text(&format!("examples/{name}")).unwrap();
        for shared in ["/tmp", "/var/tmp", r"\Temp\", "%TEMP%", r"C:\ProgramData"] {
            assert!(!text.contains(shared), "{name}: {shared}");
        }
    }
}

#[test]
fn the_page_of_the_classic_file_shows_the_example() {
    let example = text("examples/quickstart.conf").unwrap();
    assert!(page("classic-file.md").unwrap().contains(&format!("```\n{example}```\n")));
}

#[test]
fn test_citations_are_recognised() {
    let page = "`src/a.rs` and `tests/b.rs::c`, `tests/b.rs`\n`src/x/y.rs::z`";
    assert_eq!(cited(page), [("tests/b.rs", "c"), ("src/x/y.rs", "z")]);
    let text = "#[test]\n#[ignore = \"long\"]\nfn c() {\n}\n\nfn d() {\n}\n    #[test]\n    fn e() {";
    assert!(has_test(text, "c") && has_test(text, "e"));
    assert!(!has_test(text, "d") && !has_test(text, "f"));
}

fn pages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "packaging/oci", "bench", "fuzz"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                found.push(if folder.is_empty() { name } else { format!("{folder}/{name}") });
            }
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with("    ") && !line.starts_with('|')
    })
}

/// The anchor of a heading, by GitHub's rules.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// The targets of the links of a page, without those in code.
fn links(page: &str) -> Vec<String> {
    let without_code: String = page.split('`').step_by(2).collect();
    let targets = without_code.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for name in pages() {
        let folder = Path::new(&name).parent().unwrap().to_owned();
        for link in links(&text(&name).unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { PathBuf::from(&name) } else { folder.join(file) };
            let found = match text(&target.to_string_lossy()) {
                Some(page) => {
                    let headings = page.lines().filter(|line| line.starts_with('#'));
                    let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                    heading.is_empty() || anchors.any(|anchor| anchor == heading)
                }
                None => heading.is_empty() && root.join(&target).exists(),
            };
            if !found {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Pages that people write. A list of changes and a table of figures have rules of their own.
fn written_pages() -> impl Iterator<Item = String> {
    pages().into_iter().filter(|name| !["CHANGELOG.md", "bench/RESULTS.md"].contains(&name.as_str()))
}

#[test]
fn lines_of_prose_have_120_characters_at_most() {
    for name in written_pages() {
        let page = text(&name).unwrap();
        // A single long name cannot be broken.
        let can_break = |line: &&str| line.trim().contains(' ');
        let long = prose(&page).filter(can_break).find(|line| line.chars().count() > 120);
        assert!(long.is_none(), "{name}: {long:?}");
    }
}

#[test]
fn a_page_ends_with_where_to_go_next() {
    for name in written_pages() {
        let page = text(&name).unwrap();
        let last = prose(&page).filter(|line| line.starts_with("## ")).last();
        assert_eq!(last, Some("## Where to go next"), "{name}");
    }
}

#[test]
fn the_readme_has_900_words_at_most() {
    let words = text("README.md").unwrap().split_whitespace().count();
    assert!(words <= 900, "{words} words");
}

#[test]
fn the_contents_list_every_page() {
    let contents = text("docs/README.md").unwrap();
    let listed = links(&contents);
    for name in pages() {
        if let Some(page) = name.strip_prefix("docs/").filter(|page| !page.starts_with("decisions/0")) {
            assert!(page == "README.md" || listed.iter().any(|link| link == page), "{page} is not listed");
        }
    }
    let decisions = text("docs/decisions/README.md").unwrap();
    for name in pages() {
        if let Some(page) = name.strip_prefix("docs/decisions/0") {
            assert!(decisions.contains(&format!("(0{page})")), "{name} is not listed");
        }
    }
}

/// `--help` lists each long option with its argument or its purpose.
#[test]
fn every_option_has_its_row_in_the_reference() {
    let page = page("options.md").unwrap();
    let help = run(&["--help"]).output;
    let lines = help.lines().map(str::trim_start);
    let lines = lines.map(|line| line.strip_prefix("-h, ").or(line.strip_prefix("-V, ")).unwrap_or(line));
    let options = lines.filter(|line| line.starts_with("--")).map(|line| {
        let end = line.find(|letter: char| !letter.is_ascii_lowercase() && letter != '-');
        &line[..end.unwrap_or(line.len())]
    });
    let options: Vec<&str> = options.collect();
    assert!(options.len() > 25, "{options:?}");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for option in options {
        assert!(rows.iter().any(|row| row.contains(option)), "{option} has no row in docs/options.md");
    }
}
