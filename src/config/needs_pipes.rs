//! Runtimes that fail or hang with a socket as their standard streams on Windows.
//! `docs/windows-runtimes.md` lists the tests.

use super::program_name::find;
use crate::model::plan::{Service, Stdio};
use crate::sys::command::Command;
use crate::sys::{CAPABILITIES, FoundProgram};

struct KnownRuntime {
    names: &'static [&'static str],
    does: &'static str,
}

const KNOWN: [KnownRuntime; 2] = [
    KnownRuntime {
        names: &["node", "bun"],
        does: "cannot use a socket as its standard streams on Windows, and ends with an error",
    },
    KnownRuntime {
        names: &["java", "javaw", "dotnet", "deno", "esbuild", "ruff"],
        does: "often reads and writes in two threads, which stand still with a socket on Windows: a write waits \
               while the other thread reads",
    },
];

/// Returns a warning and a hint.
pub fn warning(service: &Service, program: Option<&FoundProgram>) -> Option<(String, String)> {
    if service.program.stdio != Stdio::Socket || !CAPABILITIES.serial_sockets {
        return None;
    }
    let text = Command::new(&service.program.command).ok()?.text();
    let (name, known) = find(program.map(|program| program.path.as_path()), &text, known)?;
    let hint = "give it pipes: `stdio = \"pipe\"` in a native file, `--stdio pipe` for a classic one";
    Some((format!("{name} {}", known.does), hint.to_owned()))
}

fn known(name: &str, _: &[&str]) -> Option<&'static KnownRuntime> {
    KNOWN.iter().find(|known| known.names.iter().any(|other| name.eq_ignore_ascii_case(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn does(text: &str) -> Option<&'static str> {
        find(None, text, known).map(|(_, known)| known.does)
    }

    #[test]
    fn runtimes_that_cannot_use_a_socket_are_known_by_their_names() {
        assert!(does(r"C:\node\Node.exe c:\srv\tool.js").unwrap().contains("cannot use a socket"));
        assert!(does(r"cmd /c bun run tool.ts").unwrap().contains("cannot use a socket"));
        assert!(does(r"java -jar c:\srv\tool.jar").unwrap().contains("stand still"));
        assert_eq!(does(r"c:\srv\tool.exe node"), None);
    }
}
