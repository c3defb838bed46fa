//! Advice for command lines that Windows cannot start as written.

use std::path::Path;

use super::super::ProgramFault;

/// Limit of CreateProcess in UTF-16 units, without the closing zero.
pub(super) const LONGEST_LINE: usize = 32_766;
/// Limit of cmd.exe in UTF-16 units.
pub(super) const LONGEST_OF_CMD: usize = 8_191;

pub(super) fn too_long(line: &str, most: usize) -> Option<String> {
    let length = line.encode_utf16().count();
    (length > most).then(|| {
        let who = if most == LONGEST_LINE { "Windows" } else { "cmd.exe" };
        format!("the command line has {length} characters; {who} takes {most}")
    })
}

pub(super) fn not_whole(name: &str) -> ProgramFault {
    let hint = if name.contains('%') {
        "%VARIABLES% are not expanded here; write the path that it stands for"
    } else if name.starts_with('\'') {
        "Windows quotes a path by \", not by '"
    } else {
        "begin it with a drive, as c:\\"
    };
    ProgramFault { message: format!("{name} is not an absolute path"), hint: Some(hint.to_owned()) }
}

/// A warning about shell syntax or a comment, which the program receives as an argument.
pub(super) fn meant_for_a_shell(line: &str) -> Option<String> {
    let mut is_quoted = false;
    let outside: String = line
        .chars()
        .map(|letter| {
            is_quoted ^= letter == '"';
            if is_quoted { '"' } else { letter }
        })
        .collect();
    let of_shell =
        |word: &&str| ["|", "||", "&", "&&", ">", ">>", "<", "2>", "2>>", "2>&1", ">nul"].contains(word);
    let mut words = outside.split([' ', '\t']).skip(1);
    words.find_map(|word| {
        if of_shell(&word) {
            Some(format!(
                "no shell reads this line, so the program gets {word} as an argument: write cmd /c {line}"
            ))
        } else {
            word.starts_with('#').then(|| {
                format!("write comments on separate lines: the program gets {word} and the rest as arguments")
            })
        }
    })
}

pub(super) const BUILT_INTO_CMD: [&str; 21] = [
    "assoc", "break", "call", "cd", "chdir", "cls", "copy", "date", "del", "dir", "echo", "erase", "md",
    "mkdir", "move", "rd", "ren", "set", "time", "type", "ver",
];

pub(super) fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// False for an unreadable file: its start takes another right.
pub(super) fn is_no_program(path: &Path) -> bool {
    let mut head = [0; 2];
    let read = std::fs::File::open(path).and_then(|mut file| {
        use std::io::Read;
        file.read_exact(&mut head)
    });
    match read {
        Ok(()) => head != *b"MZ",
        Err(error) => error.kind() == std::io::ErrorKind::UnexpectedEof,
    }
}

pub(super) fn interpreter(path: &Path) -> Option<&'static str> {
    Some(match extension(path).as_str() {
        "ps1" => "powershell.exe -NoProfile -ExecutionPolicy Bypass -File",
        "py" | "pyw" => "c:\\path\\to\\python.exe -u",
        "vbs" | "vbe" | "js" | "jse" | "wsf" => "cscript.exe //nologo",
        "php" => "c:\\path\\to\\php.exe",
        "jar" => "c:\\path\\to\\java.exe -jar",
        "pl" => "c:\\path\\to\\perl.exe",
        "rb" => "c:\\path\\to\\ruby.exe",
        "sh" => "c:\\path\\to\\bash.exe",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::command::Command;
    use super::super::directories::system_directory;
    use super::*;
    use crate::model::command_line::CommandLine;
    use crate::sys::FoundProgram;

    fn program(line: &str) -> Result<FoundProgram, ProgramFault> {
        Command::new(&CommandLine::line(line)).unwrap().program()
    }

    #[test]
    fn shell_syntax_in_a_command_gets_a_specific_hint() {
        let cmd = system_directory().join("cmd.exe").display().to_string();
        for (line, part) in [
            (r"%SystemRoot%\system32\cmd.exe /c ver".to_owned(), "not expanded".to_owned()),
            (format!("'{cmd}' /c ver"), "quotes a path by \"".to_owned()),
            (format!("\"{cmd} /c ver\""), format!("write \"{cmd}\" /c ver")),
            ("dir /b".to_owned(), "write cmd /c dir /b".to_owned()),
        ] {
            let hint = program(&line).unwrap_err().hint.unwrap();
            assert!(hint.contains(&part), "{line}: {hint}");
        }
    }

    #[test]
    fn words_that_only_a_shell_knows_are_warned_of() {
        for (line, part) in [("net | more", "write cmd /c net | more"), ("net user # all", "separate lines")]
        {
            let warning = program(line).unwrap().warning.unwrap();
            assert!(warning.contains(part), "{warning}");
        }
        for line in ["cmd /c net | more", "net \"a | b\" \"# c\"", "net a|b c#d"] {
            assert_eq!(program(line).unwrap().warning, None, "{line}");
        }
    }
}
