//! A pseudo-terminal: the test types keys and reads the screen, and a program has it as its
//! controlling terminal.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::LIMIT;

/// A terminal of 24 rows and 80 columns.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    line: OwnedFd,
    screen: Arc<Screen>,
}

#[derive(Debug, Default)]
struct Screen {
    /// The output that no call of `shows` has consumed.
    text: Mutex<String>,
    changed: Condvar,
}

impl Default for Terminal {
    fn default() -> Self {
        Terminal::new()
    }
}

impl Terminal {
    pub fn new() -> Terminal {
        let (mut keyboard, mut line) = (-1, -1);
        let mut size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the pointers are valid or null, as the call allows. Both descriptors are new and
        // owned here.
        let (keyboard, line) = unsafe {
            let opened = libc::openpty(
                &raw mut keyboard,
                &raw mut line,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &raw mut size,
            );
            assert_eq!(opened, 0, "a terminal: {}", std::io::Error::last_os_error());
            for descriptor in [keyboard, line] {
                libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            (File::from_raw_fd(keyboard), OwnedFd::from_raw_fd(line))
        };
        let screen = Arc::new(Screen::default());
        let (shown, mut output) = (screen.clone(), keyboard.try_clone().expect("the terminal"));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                match output.read(&mut bytes) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                    Ok(length) => {
                        shown
                            .text
                            .lock()
                            .expect("the screen")
                            .push_str(&String::from_utf8_lossy(&bytes[..length]));
                        shown.changed.notify_all();
                    }
                }
            }
        });
        Terminal { keyboard, line, screen }
    }

    pub fn stream(&self) -> Stdio {
        self.line.try_clone().expect("the terminal").into()
    }

    /// Starts a program in a new session with this terminal as its controlling terminal and its
    /// standard streams.
    pub fn start(&self, command: &mut Command) -> Child {
        self.start_with_input(command, self.stream())
    }

    /// The same with another standard input.
    pub fn start_with_input(&self, command: &mut Command, input: Stdio) -> Child {
        let line = self.line.as_raw_fd();
        crate::system::with_default_signals(command);
        command.stdin(input).stdout(self.stream()).stderr(self.stream());
        // SAFETY: both calls are async-signal-safe, and the descriptor is open until exec.
        unsafe {
            command.pre_exec(move || {
                if libc::setsid() < 0 || libc::ioctl(line, libc::TIOCSCTTY as _, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command.spawn().expect("a program at the terminal")
    }

    pub fn types(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).expect("keys");
    }

    /// Waits until the terminal shows this text. Returns the output before it.
    pub fn shows(&self, text: &str) -> String {
        let until = Instant::now() + LIMIT;
        let mut shown = self.screen.text.lock().expect("the screen");
        loop {
            if let Some((before, after)) = shown.split_once(text) {
                let (before, after) = (before.to_owned(), after.to_owned());
                *shown = after;
                return before;
            }
            let rest = until.saturating_duration_since(Instant::now());
            assert!(!rest.is_zero(), "the terminal does not show {text:?} but {:?}", *shown);
            shown = self.screen.changed.wait_timeout(shown, rest).expect("the screen").0;
        }
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the pointer is valid for the call.
        let done = unsafe { libc::ioctl(self.keyboard.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Whether the terminal edits lines and echoes keys, as a shell leaves it.
    pub fn is_cooked(&self) -> bool {
        // SAFETY: zeroes are a valid termios, which the call overwrites.
        let modes = unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.line.as_raw_fd(), &raw mut modes), 0);
            modes
        };
        let wanted = libc::ICANON | libc::ECHO | libc::ISIG;
        modes.c_lflag & wanted == wanted && modes.c_oflag & libc::OPOST != 0
    }

    pub fn name(&self) -> String {
        let mut name = [0 as libc::c_char; 128];
        // SAFETY: the buffer is as long as the call says, and ends with NUL after a success.
        unsafe {
            assert_eq!(libc::ttyname_r(self.line.as_raw_fd(), name.as_mut_ptr(), name.len()), 0);
            std::ffi::CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()
        }
    }
}
