//! A Windows command line. The server finds the program itself, so that Windows never searches
//! a folder that others can write.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RegGetValueW};

use super::super::{CommandFault, FoundProgram, ProgramFault};
use super::command_hints::{
    BUILT_INTO_CMD, LONGEST_LINE, LONGEST_OF_CMD, extension, interpreter, is_no_program, meant_for_a_shell,
    not_whole, too_long,
};
use super::directories::{system_directory, windows_directory};
use super::handle::wide;
use super::quote::{quoted, word};
use crate::model::command_line::{CommandLine, CommandText};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    line: String,
    name: ProgramName,
    /// Replaces the program's name in the line (`argv0`).
    own_name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ProgramName {
    Clear(String),
    /// A path without quotes, which may end at any blank.
    Blanks,
}

impl Command {
    pub fn new(typed: &CommandLine) -> Result<Command, CommandFault> {
        let command = match &typed.text {
            CommandText::Line(line) => Command::of_line(line)?,
            CommandText::Words(words) => Command::of_words(words)?,
        };
        // The C runtime has no escape for a quote within this word.
        let letter =
            typed.own_name.as_ref().and_then(|name| name.chars().find(|letter| "\"\0".contains(*letter)));
        if let Some(letter) = letter {
            return Err(refused(0, &format!("a program's name cannot hold the character {letter:?}"), None));
        }
        Ok(Command { own_name: typed.own_name.clone(), ..command })
    }

    fn of_line(line: &OsStr) -> Result<Command, CommandFault> {
        let fault = |message: &str, hint| refused(0, message, hint);
        let line = line.to_string_lossy().trim_matches([' ', '\t']).to_owned();
        if line.contains('\0') {
            return Err(fault("a command line cannot hold a NUL character", None));
        }
        let name = if let Some(rest) = line.strip_prefix('"') {
            let Some((name, _)) = rest.split_once('"') else {
                return Err(fault("this \" has no closing \"", Some("put one after the program's path")));
            };
            ProgramName::Clear(name.to_owned())
        } else {
            let (first, rest) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
            if is_path(first) && !rest.is_empty() {
                ProgramName::Blanks
            } else {
                ProgramName::Clear(first.to_owned())
            }
        };
        if name == ProgramName::Clear(String::new()) {
            return Err(fault("the program's name is empty", None));
        }
        if let Some(message) = too_long(&line, LONGEST_LINE) {
            return Err(fault(&message, None));
        }
        Ok(Command { line, name, own_name: None })
    }

    /// Quotes words by the rules of the C runtime.
    fn of_words(words: &[String]) -> Result<Command, CommandFault> {
        let Some(name) = words.first().filter(|name| !name.is_empty()) else {
            return Err(refused(0, "the program's name is empty", None));
        };
        if name.contains('"') {
            return Err(refused(0, "a program's name cannot hold a \"", None));
        }
        // Windows ignores blanks and dots at the end of a name.
        let batch = is_batch(Path::new(name.trim_end_matches([' ', '.'])));
        let mut line = format!("\"{name}\"");
        for (number, word) in words.iter().enumerate() {
            if word.contains('\0') {
                return Err(refused(number, "an argument cannot hold a NUL character", None));
            }
            // cmd.exe parses the line again and interprets these even within quotes.
            let meant = |letter: char| letter.is_control() || "\"%!&|<>^".contains(letter);
            if let Some(letter) = word.chars().find(|&letter| batch && meant(letter)) {
                let message =
                    format!("cmd.exe, which runs batch files, would interpret the character {letter:?}");
                let hint = "write the command as one string, in cmd.exe's own quoting, or start a program";
                return Err(refused(number, &message, Some(hint)));
            }
            if number > 0 {
                line.push(' ');
                let parts = batch && word.contains([',', ';', '=', '(', ')']);
                line.push_str(&if parts { quoted(word) } else { self::word(word) });
            }
        }
        if let Some(message) = too_long(&line, LONGEST_LINE) {
            return Err(refused(0, &message, None));
        }
        Ok(Command { line, name: ProgramName::Clear(name.clone()), own_name: None })
    }

    pub fn text(&self) -> String {
        self.line.clone()
    }

    /// Finds the program. May block on the disk or the network.
    pub fn program(&self) -> Result<FoundProgram, ProgramFault> {
        let mut program = match &self.name {
            ProgramName::Clear(name) if is_path(name) => {
                let path = PathBuf::from(name);
                if !path.is_absolute() {
                    return Err(not_whole(name));
                }
                let found =
                    usable(&path, &self.line).map_err(|fault| self.quoted_whole(name).unwrap_or(fault))?;
                FoundProgram { path: found, warning: None }
            }
            ProgramName::Clear(name) => {
                FoundProgram { path: in_search_path(name, &self.line)?, warning: None }
            }
            ProgramName::Blanks => self.program_with_blanks()?,
        };
        let is_batch = is_batch(&program.path);
        if let Some(own_name) = self.own_name.as_ref().filter(|_| is_batch) {
            let path = program.path.display();
            return Err(fault(
                format!("{path} is a batch file, which cmd.exe runs: it cannot have the name {own_name}"),
                Some("leave `argv0` out, or start a program".to_owned()),
            ));
        }
        let is_shell = program.path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("cmd"));
        let started = self.to_start(&program.path).1.to_string_lossy().into_owned();
        let (most, hint) = match is_shell || is_batch {
            true => (LONGEST_OF_CMD, Some("write it into a batch file".to_owned())),
            // `argv0` may have made the line longer.
            false => (LONGEST_LINE, None),
        };
        if let Some(message) = too_long(&started, most) {
            return Err(fault(message, hint));
        }
        if program.warning.is_none() && !is_shell {
            program.warning = meant_for_a_shell(&self.line);
        }
        Ok(program)
    }

    fn quoted_whole(&self, name: &str) -> Option<ProgramFault> {
        let (first, rest) = name.match_indices(' ').find_map(|(at, _)| {
            let path = usable(Path::new(&name[..at]), &self.line).ok()?;
            Some((path, &name[at..]))
        })?;
        let message = format!("there is no program {name}: the quotes also include its arguments");
        Some(fault(message, Some(format!("write \"{}\"{rest}", first.display()))))
    }

    /// Tries each blank as the end of an unquoted path, in the order that Windows does.
    fn program_with_blanks(&self) -> Result<FoundProgram, ProgramFault> {
        let ends = self.line.match_indices([' ', '\t']).map(|(at, _)| at).chain([self.line.len()]);
        let mut first_fault = None;
        for end in ends {
            let candidate = &self.line[..end];
            let path = PathBuf::from(candidate);
            if !path.is_absolute() {
                return Err(not_whole(candidate));
            }
            match usable(&path, &self.line) {
                Ok(path) => {
                    let warning = candidate.contains([' ', '\t']).then(|| {
                        format!("a path with a blank and no quotes: write \"{}\", or a user who can create a file named like its beginning chooses what runs", path.display())
                    });
                    return Ok(FoundProgram { path, warning });
                }
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        Err(first_fault.unwrap_or_else(|| fault("the program's name is empty".to_owned(), None)))
    }

    /// The application and the whole command line for a program at `path`. cmd.exe runs
    /// batch files. No command line holds text from a client, so cmd.exe's quoting rules
    /// cannot be exploited.
    pub(super) fn to_start(&self, path: &Path) -> (PathBuf, OsString) {
        if is_batch(path) {
            let cmd = system_directory().join("cmd.exe");
            // The full path: cmd.exe would search its current folder first.
            let rest = self.behind_name(path);
            let line = format!("\"{}\" /d /s /c \"\"{}\"{rest}\"", cmd.display(), path.display());
            return (cmd, line.into());
        }
        let Some(own_name) = &self.own_name else { return (path.to_owned(), self.line.clone().into()) };
        // Backslashes escape nothing in this word, so quotes alone are enough.
        let quote = if own_name.contains([' ', '\t']) || own_name.is_empty() { "\"" } else { "" };
        let rest = self.behind_name(path);
        (path.to_owned(), format!("{quote}{own_name}{quote}{rest}").into())
    }

    fn behind_name(&self, path: &Path) -> &str {
        let end = match &self.name {
            ProgramName::Clear(name) if self.line.starts_with('"') => name.len() + 2,
            ProgramName::Clear(name) => name.len(),
            ProgramName::Blanks => path.to_string_lossy().len(),
        };
        self.line.get(end..).unwrap_or_default()
    }
}

fn refused(position: usize, message: &str, hint: Option<&str>) -> CommandFault {
    CommandFault { position, message: message.to_owned(), hint: hint.map(str::to_owned) }
}

fn fault(message: String, hint: Option<String>) -> ProgramFault {
    ProgramFault { message, hint }
}

fn is_path(name: &str) -> bool {
    name.contains(['\\', '/', ':'])
}

fn is_batch(path: &Path) -> bool {
    matches!(extension(path).as_str(), "cmd" | "bat")
}

/// The path of a file that Windows can start. Adds `.exe` to a name without an extension.
fn usable(path: &Path, line: &str) -> Result<PathBuf, ProgramFault> {
    let path = if path.extension().is_none() { path.with_extension("exe") } else { path.to_owned() };
    match std::fs::metadata(&path) {
        Err(error) => {
            let hint =
                path.to_string_lossy().contains('%').then(|| "%VARIABLES% are not expanded here".to_owned());
            Err(fault(format!("{}: {error}", path.display()), hint))
        }
        Ok(found) if found.is_dir() => Err(fault(format!("{} is a directory", path.display()), None)),
        Ok(_) => match interpreter(&path) {
            None if is_batch(&path) || !is_no_program(&path) => Ok(path),
            None => {
                let hint = match extension(&path).as_str() {
                    "lnk" | "url" => "write the path of the shortcut's target",
                    _ => "programs begin with the letters MZ; name the program that opens this file",
                };
                Err(fault(format!("{} is not a program", path.display()), Some(hint.to_owned())))
            }
            Some(interpreter) => Err(fault(
                format!("{} is a script, which Windows cannot start directly", path.display()),
                Some(format!("write {interpreter} {line}")),
            )),
        },
    }
}

/// Searches System32, the Windows directory and the system's PATH for a bare name. Skips the
/// server's folder and the current one, where an attacker may plant a file, and a user's
/// PATH, which services do not have.
fn in_search_path(name: &str, line: &str) -> Result<PathBuf, ProgramFault> {
    let system_path = system_path();
    [system_directory(), windows_directory()]
        .into_iter()
        .chain(std::env::split_paths(&system_path).filter(|folder| folder.is_absolute()))
        .map(|folder| folder.join(name))
        .find_map(|candidate| match usable(&candidate, line) {
            Ok(path) => Some(Ok(path)),
            // A script was found: report that instead of "not found".
            Err(fault) if fault.hint.as_ref().is_some_and(|hint| hint.starts_with("write ")) => {
                Some(Err(fault))
            }
            Err(_) => None,
        })
        .unwrap_or_else(|| {
            let hint = if name.contains('%') {
                "%VARIABLES% are not expanded here".to_owned()
            } else if BUILT_INTO_CMD.iter().any(|command| command.eq_ignore_ascii_case(name)) {
                format!("cmd.exe has it in itself: write cmd /c {line}")
            } else {
                "write its absolute path".to_owned()
            };
            Err(fault(
                format!("there is no program {name} in System32, the Windows directory or the system's PATH"),
                Some(hint),
            ))
        })
}

fn system_path() -> OsString {
    let key = wide(r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment");
    let name = wide("Path");
    let mut buffer = vec![0u16; 32_768];
    let mut bytes = 65_536u32;
    // SAFETY: the strings are NUL-terminated, and the buffer has the length passed.
    // RRF_RT_REG_SZ also accepts an expandable value and expands it.
    let result = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ,
            std::ptr::null_mut(),
            buffer.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if result != ERROR_SUCCESS {
        // No fallback to the process's own PATH: in a console that is the user's.
        return OsString::new();
    }
    let length = buffer.iter().position(|&unit| unit == 0).unwrap_or(0);
    String::from_utf16_lossy(&buffer[..length]).into()
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
