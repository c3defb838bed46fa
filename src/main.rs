//! The program: passes its arguments to the library and returns the exit code.

fn main() -> std::process::ExitCode {
    wininetd::run(std::env::args_os()).into()
}
