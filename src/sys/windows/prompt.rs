//! Reads a password without echo from a console, or a line from a pipe.

use std::io::{self, BufRead, IsTerminal, Write};

use windows_sys::Win32::System::Console::{
    ENABLE_ECHO_INPUT, ENABLE_LINE_INPUT, ENABLE_PROCESSED_INPUT, GetConsoleMode, GetStdHandle, ReadConsoleW,
    STD_INPUT_HANDLE, SetConsoleMode,
};
use zeroize::Zeroizing;

use super::handle::check;
use crate::model::secret::Secret;

/// In UTF-16 units. Windows passwords have at most 256.
const LONGEST: usize = 1024;

pub fn password(of: &str) -> io::Result<Secret> {
    if !io::stdin().is_terminal() {
        return from_pipe();
    }
    let first = from_console(&format!("Password of {of}: "))?;
    let again = from_console("Once more: ")?;
    if first != again {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the two passwords differ; nothing is stored",
        ));
    }
    Ok(first)
}

fn from_pipe() -> io::Result<Secret> {
    // Capacity for all input, so that growth leaves no unwiped copy.
    let mut line = Zeroizing::new(String::with_capacity(4 * LONGEST));
    io::Read::take(io::stdin().lock(), 3 * LONGEST as u64).read_line(&mut line)?;
    let text = line.trim_end_matches(['\r', '\n']);
    Ok(Secret::new(text.strip_prefix('\u{feff}').unwrap_or(text)))
}

fn from_console(prompt: &str) -> io::Result<Secret> {
    let mut terminal = io::stderr();
    let _ = write!(terminal, "{prompt}").and_then(|()| terminal.flush());
    let mut units = Zeroizing::new(vec![0u16; LONGEST]);
    let mut count = 0;
    // SAFETY: GetConsoleMode fails if the handle is no console; the buffer has the length passed.
    let read = unsafe {
        let input = GetStdHandle(STD_INPUT_HANDLE);
        let mut before = 0;
        check(GetConsoleMode(input, &raw mut before))?;
        let quiet = (before | ENABLE_LINE_INPUT | ENABLE_PROCESSED_INPUT) & !ENABLE_ECHO_INPUT;
        check(SetConsoleMode(input, quiet))?;
        let length = u32::try_from(LONGEST).unwrap_or(0);
        let read =
            check(ReadConsoleW(input, units.as_mut_ptr().cast(), length, &raw mut count, std::ptr::null()));
        SetConsoleMode(input, before);
        read
    };
    let _ = writeln!(terminal);
    read?;
    let mut text = Zeroizing::new(String::with_capacity(4 * LONGEST));
    for letter in char::decode_utf16(units.iter().copied().take(count as usize)) {
        text.push(letter.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
