//! The command of a service: a line, or an array of arguments.

use toml::Spanned;
use toml::de::DeValue;

use super::Reader;
use super::fields::Context;
use super::keys::Key;
use super::report::At;
use super::units::Fault;
use super::value::Value;
use crate::model::command_line::CommandLine;
use crate::sys::CommandFault;
use crate::sys::command::Command;

impl Reader<'_> {
    /// A command line, as in a classic file.
    pub fn command_line(&mut self, context: Context, at: &At, text: &str) -> Option<Value> {
        self.plain_text(at, text)?;
        if context.foreign {
            // Another system's rules.
            return Some(Value::Read);
        }
        let line = CommandLine::line(text);
        Command::new(&line)
            .map(|_| Value::Command(line))
            .map_err(|fault| self.command_fault(at, text, fault))
            .ok()
    }

    /// Said at the place in the line where it is known.
    fn command_fault(&mut self, at: &At, text: &str, fault: CommandFault) {
        let raw = self.raw(at);
        // A string without escapes stands in the file as it is.
        let start = raw.find(text).map(|start| at.range.start + start);
        let place = match start {
            Some(start) if fault.position > 0 && fault.position < text.len() => {
                let place = start + fault.position;
                At { source: at.source, range: place..place + 1 }
            }
            _ => at.clone(),
        };
        self.report.error(&place, Fault { message: fault.message, hint: fault.hint });
    }

    /// A program's name and its arguments, as they are.
    pub fn command_of_arguments(
        &mut self,
        context: Context,
        key: &Key,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Value> {
        let words = self.texts(context, key, value)?;
        // Arguments may hold anything; in the program's path it is a slip.
        if let Some((name, at)) = words.first() {
            self.plain_text(at, name)?;
        }
        if context.foreign {
            return Some(Value::Read);
        }
        let places: Vec<At> = words.iter().map(|(_, at)| at.clone()).collect();
        let words = CommandLine::words(words.into_iter().map(|(word, _)| word));
        match Command::new(&words) {
            Ok(_) => Some(Value::Command(words)),
            Err(fault) => {
                let whole = context.at(value.span());
                let at = places.get(fault.position).unwrap_or(&whole);
                self.report.error(at, Fault { message: fault.message, hint: fault.hint });
                None
            }
        }
    }
}
