//! Splits a command line at blanks, with the quotes and backslashes of a POSIX shell. There are no
//! variables and no globs.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::super::{CommandFault, FoundProgram, ProgramFault};
use crate::model::command_line::{CommandLine, CommandText};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// A path, or a bare name to look up in PATH.
    name: CString,
    /// The first is the program's own name.
    arguments: Vec<CString>,
}

impl Command {
    pub fn new(typed: &CommandLine) -> Result<Command, CommandFault> {
        let words = match &typed.text {
            CommandText::Line(line) => split(line.as_bytes())?,
            CommandText::Words(words) => words.iter().map(|word| word.clone().into_bytes()).collect(),
        };
        if words.first().is_none_or(Vec::is_empty) {
            return Err(fault(0, "the program's name is empty"));
        }
        let nul = |number| match &typed.text {
            CommandText::Line(_) => fault(0, "a command line cannot hold a NUL character"),
            CommandText::Words(_) => fault(number, "an argument cannot hold a NUL character"),
        };
        let argument = |(number, word)| CString::new::<Vec<u8>>(word).map_err(|_| nul(number));
        let mut arguments: Vec<CString> =
            words.into_iter().enumerate().map(argument).collect::<Result<_, _>>()?;
        let name = arguments[0].clone();
        if let Some(own_name) = &typed.own_name {
            arguments[0] = CString::new(&**own_name)
                .map_err(|_| fault(0, "a program's name cannot hold a NUL character"))?;
        }
        Ok(Command { name, arguments })
    }

    pub fn arguments(&self) -> &[CString] {
        &self.arguments
    }

    pub fn text(&self) -> String {
        let words: Vec<_> = self.arguments.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    /// The path for execve. An absolute path is not checked: the account may see a file that the
    /// server cannot.
    pub(super) fn to_start(&self) -> Result<PathBuf, ProgramFault> {
        let path = Path::new(OsStr::from_bytes(self.name.as_bytes()));
        if path.is_absolute() { Ok(path.to_owned()) } else { self.program().map(|program| program.path) }
    }

    /// Looks up a bare name in PATH. May block on a disk or the network.
    pub fn program(&self) -> Result<FoundProgram, ProgramFault> {
        let name = OsStr::from_bytes(self.name.as_bytes());
        let path = if name.as_bytes().contains(&b'/') { PathBuf::from(name) } else { in_path(name)? };
        usable(&path)?;
        Ok(FoundProgram { path, warning: None })
    }
}

fn in_path(name: &OsStr) -> Result<PathBuf, ProgramFault> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    std::env::split_paths(&path)
        // An empty or relative entry would mean our working directory.
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|candidate| usable(candidate).is_ok())
        .ok_or_else(|| ProgramFault {
            message: format!("there is no program {} in PATH", name.display()),
            hint: Some("write its absolute path".to_owned()),
        })
}

/// Whether it is a file with an execute bit. Only execve tells whether the account may run it.
fn usable(path: &Path) -> Result<(), ProgramFault> {
    let fault = |message: String| Err(ProgramFault { message, hint: None });
    if !path.is_absolute() {
        return fault(format!("{} is not an absolute path: begin it with /", path.display()));
    }
    match std::fs::metadata(path) {
        Err(error) => fault(format!("{}: {error}", path.display())),
        Ok(found) if found.is_dir() => fault(format!("{} is a directory", path.display())),
        // Opening a FIFO would block, and a device is not a program.
        Ok(found) if !found.is_file() => fault(format!("{} is not a regular file", path.display())),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Err(ProgramFault {
            message: format!("{} is not executable", path.display()),
            hint: Some(format!("chmod +x {}", path.display())),
        }),
        Ok(_) => Ok(()),
    }
}

fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, CommandFault> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            b' ' | b'\t' => words.extend(word.take()),
            b'\'' => {
                let end = quote_end(line, at)?;
                word.get_or_insert_default().extend_from_slice(&line[at + 1..end]);
                at = end;
            }
            b'"' => at = double_quoted(line, at, word.get_or_insert_default())?,
            b'\\' if at + 1 < line.len() => {
                at += 1;
                word.get_or_insert_default().push(line[at]);
            }
            b'\\' => {
                return Err(CommandFault {
                    hint: Some(r"write \\ for a backslash".to_owned()),
                    ..fault(at, "a backslash at the end of the line escapes nothing")
                });
            }
            byte => word.get_or_insert_default().push(byte),
        }
        at += 1;
    }
    words.extend(word);
    Ok(words)
}

fn fault(position: usize, message: &str) -> CommandFault {
    CommandFault { position, message: message.to_owned(), hint: None }
}

/// Appends the text in the double quotes at `start`; returns the index of the closing quote.
fn double_quoted(line: &[u8], start: usize, word: &mut Vec<u8>) -> Result<usize, CommandFault> {
    let mut at = start + 1;
    while at < line.len() {
        match line[at] {
            b'"' => return Ok(at),
            b'\\' if matches!(line.get(at + 1), Some(b'"' | b'\\' | b'$' | b'`')) => {
                at += 1;
                word.push(line[at]);
            }
            byte => word.push(byte),
        }
        at += 1;
    }
    Err(unclosed(line, start))
}

fn quote_end(line: &[u8], start: usize) -> Result<usize, CommandFault> {
    let rest = &line[start + 1..];
    rest.iter()
        .position(|&byte| byte == line[start])
        .map(|length| start + 1 + length)
        .ok_or_else(|| unclosed(line, start))
}

fn unclosed(line: &[u8], start: usize) -> CommandFault {
    let quote = char::from(line[start]);
    CommandFault {
        position: start,
        message: format!("this {quote} has no closing {quote}"),
        hint: Some(format!("write \\{quote} for the character itself")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        let command = Command::new(&CommandLine::line(line)).unwrap();
        command.arguments().iter().map(|word| word.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn blanks_separate_in_any_number() {
        assert_eq!(words("echo  a \t b"), ["echo", "a", "b"]);
    }

    #[test]
    fn quotes_and_backslash_work_as_in_a_shell() {
        assert_eq!(
            words(r#"e 'a "b" \n' "c 'd' \" \\ \n" f\ g ''"#),
            ["e", r#"a "b" \n"#, r#"c 'd' " \ \n"#, "f g", ""]
        );
    }

    #[test]
    fn nothing_else_of_a_shell_is_understood() {
        assert_eq!(words("e $HOME * ~ # | > x ; y"), ["e", "$HOME", "*", "~", "#", "|", ">", "x", ";", "y"]);
    }

    #[test]
    fn an_unclosed_quote_is_named_with_its_place() {
        for line in ["echo 'a", "echo \"a"] {
            assert_eq!(Command::new(&CommandLine::line(line)).unwrap_err().position, 5);
        }
    }

    #[test]
    fn arguments_are_taken_as_they_are() {
        let given = ["/bin/echo", "a b", "'", "", "\\"];
        let command = Command::new(&CommandLine::words(given)).unwrap();
        let words: Vec<_> = command.arguments().iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words, given);
        assert_eq!(Command::new(&CommandLine::words(["e", "\0"])).unwrap_err().position, 1);
        assert!(Command::new(&CommandLine::words([""; 0])).is_err());
    }

    #[test]
    fn another_own_name_leaves_the_program_as_it_is() {
        let called = |own_name: &str| {
            let own_name = Some(own_name.to_owned());
            Command::new(&CommandLine { own_name, ..CommandLine::line("/bin/sh -c x") })
        };
        let command = called("-sh").unwrap();
        assert_eq!(command.arguments()[0].to_str(), Ok("-sh"));
        assert_eq!(command.to_start().unwrap(), Path::new("/bin/sh"));
        assert!(called("\0").is_err());
    }

    #[test]
    fn an_empty_program_is_refused() {
        assert!(Command::new(&CommandLine::line("'' a")).is_err());
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_taken_as_they_are() {
        let line = OsString::from_vec(b"echo \xff".to_vec());
        assert_eq!(Command::new(&CommandLine::line(line)).unwrap().arguments()[1].as_bytes(), b"\xff");
    }
}
