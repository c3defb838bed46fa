//! The program: arguments to the library, its answer to the exit code.

fn main() -> std::process::ExitCode {
    wininetd::run(std::env::args_os()).into()
}
