//! How command lines are read, and which programs they name.

use super::*;

fn program(line: &str) -> Result<FoundProgram, ProgramFault> {
    Command::new(&CommandLine::line(line)).unwrap().program()
}

#[test]
fn bare_names_are_found_in_system32_and_only_exe_is_added() {
    let expected = system_directory().join("cmd.exe");
    assert_eq!(program("cmd /c ver").unwrap().path, expected);
    assert_eq!(program("cmd.exe /c ver").unwrap().path, expected);
    assert!(program("no-such-program-anywhere").is_err());
}

#[test]
fn unquoted_path_with_spaces_follows_windows_order_and_warns() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("a.exe");
    let long = folder.path().join("a b.exe");
    std::fs::write(&long, "MZ").unwrap();
    let line = format!("{} c", long.display());
    let found = program(&line).unwrap();
    assert_eq!(found.path, long);
    assert!(found.warning.unwrap().contains("quotes"));
    std::fs::write(&short, "MZ").unwrap();
    assert_eq!(program(&line).unwrap().path, short);
    assert_eq!(
        program(&format!("\"{}\" c", long.display())).unwrap(),
        FoundProgram { path: long, warning: None }
    );
}

#[test]
fn scripts_get_the_line_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("x.ps1");
    std::fs::write(&script, "").unwrap();
    let hint = program(&format!("{} 1", script.display())).unwrap_err().hint.unwrap();
    assert!(hint.contains("powershell.exe") && hint.ends_with("x.ps1 1"), "{hint}");
}

#[test]
fn files_that_are_no_programs_are_told_from_programs() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, hint) in [
        ("a.lnk", "L\0", "shortcut"),
        ("a.txt", "text", "MZ"),
        ("a.exe", "", "MZ"),
        ("a.php", "<?php", "php.exe"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let found = program(&format!("\"{}\"", path.display())).unwrap_err();
        assert!(found.hint.as_ref().is_some_and(|found| found.contains(hint)), "{found:?}");
    }
    let batch = folder.path().join("a.cmd");
    std::fs::write(&batch, "").unwrap();
    program(&format!("\"{}\" {}", batch.display(), "x".repeat(8000))).unwrap();
    let long = program(&format!("\"{}\" {}", batch.display(), "x".repeat(8192))).unwrap_err();
    assert!(long.message.contains("cmd.exe takes 8191"), "{long:?}");
}

#[test]
fn a_line_that_windows_cannot_take_is_refused() {
    let line = format!("cmd {}", "x".repeat(32_762));
    assert!(Command::new(&CommandLine::line(&line)).is_ok());
    let fault = Command::new(&CommandLine::line(format!("{line}x"))).unwrap_err();
    assert!(fault.message.contains("32767"), "{fault:?}");
    assert!(Command::new(&CommandLine::words(["x.exe".to_owned(), "x".repeat(40_000)])).is_err());
}

#[test]
fn batch_files_run_through_cmd() {
    let command = Command::new(&CommandLine::line(r#""c:\a b\x.cmd" 1"#)).unwrap();
    let (application, line) = command.to_start(Path::new(r"c:\a b\x.cmd"));
    assert_eq!(application, system_directory().join("cmd.exe"));
    assert!(line.to_string_lossy().ends_with(r#"/d /s /c ""c:\a b\x.cmd" 1""#), "{line:?}");
}

fn called(line: impl Into<OsString>, own_name: &str) -> Result<Command, CommandFault> {
    Command::new(&CommandLine { own_name: Some(own_name.to_owned()), ..CommandLine::line(line) })
}

#[test]
fn another_own_name_replaces_the_first_word_of_the_line() {
    let path = Path::new(r"c:\a b\x.exe");
    for (line, name, expected) in [
        (r#""c:\a b\x.exe" "1 2""#, "y", r#"y "1 2""#),
        (r"c:\a b\x.exe 1", "y z", r#""y z" 1"#),
        ("x 1", r"d:\y\", r"d:\y\ 1"),
    ] {
        let command = called(line, name).unwrap();
        assert_eq!(command.to_start(path), (path.to_owned(), expected.into()), "{line}");
    }
    assert!(called("x", "\"").is_err());
}

#[test]
fn a_batch_file_cannot_have_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let batch = folder.path().join("x.cmd");
    std::fs::write(&batch, "").unwrap();
    assert!(Command::new(&CommandLine::line(&batch)).unwrap().program().is_ok());
    assert!(called(&batch, "y").unwrap().program().unwrap_err().message.contains("batch file"));
}

fn of_arguments(words: &[&str]) -> Result<String, usize> {
    let command = Command::new(&CommandLine::words(words.iter().copied()));
    command.map(|command| command.line).map_err(|fault| fault.position)
}

#[test]
fn arguments_are_quoted_as_programs_read_them() {
    let line = of_arguments(&[r"c:\a b\x.exe", "1", "", r#"a "b" \"#]).unwrap();
    assert_eq!(line, r#""c:\a b\x.exe" 1 "" "a \"b\" \\""#);
    assert_eq!(of_arguments(&["x.exe", "%PATH%"]).unwrap(), r#""x.exe" %PATH%"#);
    assert_eq!(of_arguments(&[]), Err(0));
    assert_eq!(of_arguments(&["x.exe", "a\0"]), Err(1));
}

#[test]
fn batch_files_refuse_arguments_that_cmd_interprets() {
    for argument in ["%PATH%", "a&b", "a\"b", "^", "a|b", ">x", "a\nb", "!x!"] {
        for name in ["x.cmd", "X.BAT", "x.bat.", "x.bat "] {
            assert_eq!(of_arguments(&[name, "1", argument]), Err(2), "{name} {argument}");
        }
    }
    assert_eq!(of_arguments(&["x.cmd", "a=b", "c d"]).unwrap(), r#""x.cmd" "a=b" "c d""#);
}

#[test]
fn a_path_must_be_whole() {
    assert!(program(r"bin\x.exe").unwrap_err().message.contains("absolute path"));
    assert!(program(r"\x.exe").unwrap_err().message.contains("absolute path"));
}
