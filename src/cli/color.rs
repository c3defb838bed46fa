//! Whether findings are shown in color.

use std::fmt::Display;
use std::io::IsTerminal;

use crate::sys::process::enable_colors;

/// When findings are shown in color.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On terminals that can show it, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not even on terminals.
    Never,
}

impl Color {
    pub fn shown(self, finding: &impl Display, stream: &impl IsTerminal) -> String {
        let is_wanted = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let has_colors = match self {
            Color::Auto => stream.is_terminal() && is_wanted() && enable_colors(),
            Color::Always => true,
            Color::Never => false,
        };
        if has_colors { format!("{finding:#}") } else { finding.to_string() }
    }
}
