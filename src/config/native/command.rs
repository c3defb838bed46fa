//! The key `command`: a line, or an array of arguments.

use toml::Spanned;
use toml::de::DeValue;

use super::keys::ValueKind;
use super::reader::Cell;
use super::report::At;
use super::units::Fault;
use super::value::Typed;
use crate::model::command_line::CommandLine;
use crate::sys::CommandFault;
use crate::sys::command::Command;

impl Typed for CommandLine {
    const KIND: ValueKind = ValueKind::Command;

    fn read(cell: &mut Cell<'_, '_>) -> Option<Self> {
        match cell.value.get_ref() {
            DeValue::Array(_) => of_arguments(cell),
            _ => of_line(cell),
        }
    }
}

impl From<CommandFault> for Fault {
    fn from(fault: CommandFault) -> Fault {
        Fault { message: fault.message, hint: fault.hint }
    }
}

/// Does not parse a line for the other system, which has its own rules.
fn of_line(cell: &mut Cell<'_, '_>) -> Option<CommandLine> {
    let text = cell.plain_text()?;
    if cell.context.foreign {
        return None;
    }
    let line = CommandLine::line(text);
    let fault = match Command::new(&line) {
        Ok(_) => return Some(line),
        Err(fault) => fault,
    };
    let at = cell.at();
    // A string without escapes occurs unchanged in the file.
    let start = cell.raw().find(text).map(|start| at.range.start + start);
    let place = match start {
        Some(start) if fault.position > 0 && fault.position < text.len() => {
            let place = start + fault.position;
            At { source: at.source, range: place..place + 1 }
        }
        _ => at,
    };
    cell.reader.report.error(&place, fault.into());
    None
}

fn of_arguments(cell: &mut Cell<'_, '_>) -> Option<CommandLine> {
    let first = cell.value.get_ref().as_array().and_then(|array| array.iter().next()).map(Spanned::span);
    let words = cell.each(|cell| {
        // An argument may hold control characters. In the program's path they are a mistake.
        let is_program = Some(cell.value.span()) == first;
        let word = if is_program { cell.plain_text() } else { cell.text() };
        Some((word?.to_owned(), cell.at()))
    })?;
    if cell.context.foreign {
        return None;
    }
    let (words, places): (Vec<String>, Vec<At>) = words.into_iter().unzip();
    let words = CommandLine::words(words);
    match Command::new(&words) {
        Ok(_) => Some(words),
        Err(fault) => {
            let at = places.get(fault.position).cloned().unwrap_or_else(|| cell.at());
            cell.reader.report.error(&at, fault.into());
            None
        }
    }
}
