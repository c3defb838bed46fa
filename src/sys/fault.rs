//! Injection points where a debug build lets a system call fail. Each such call passes its point
//! first. A test selects calls by name and number. In a release build a point does nothing.
//!
//! `WININETD_TEST_FAULTS=accept:3` fails the third accept, `accept:3+` that and all later ones,
//! `accept:1-6` the first six. Commas separate several. `WININETD_TEST_FAULTS_SEEN=FILE` logs each
//! pass: the point, its number, and `failed` for a failed call. See `docs/fault-injection.md`.

/// The injected error. Each maps to the code that the system itself would return.
#[cfg_attr(not(debug_assertions), allow(dead_code))]
#[derive(Debug, Clone, Copy)]
pub enum Says {
    Descriptors,
    Sockets,
    Memory,
    Processes,
    Device,
    Space,
    Denied,
    Privilege,
    Reset,
    InUse,
}

#[cfg(debug_assertions)]
pub use in_tests::{passed, point};

/// Call it just before the system call of this name. Returns an error if a test wants that call to
/// fail.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_: &'static str, _: Says) -> std::io::Result<()> {
    Ok(())
}

/// Counts an event for a test.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn passed(_: &'static str) {}

#[cfg(debug_assertions)]
mod in_tests {
    use std::collections::HashMap;
    use std::fs::{File, OpenOptions};
    use std::io::{self, Write};
    use std::sync::{Mutex, OnceLock, PoisonError};

    use super::Says;

    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Wanted {
        name: String,
        first: u32,
        last: u32,
    }

    #[derive(Debug)]
    struct Points {
        wanted: Vec<Wanted>,
        passes: Mutex<HashMap<&'static str, u32>>,
        seen: Option<File>,
    }

    pub fn point(name: &'static str, says: Says) -> io::Result<()> {
        match points() {
            Some(points) if points.pass(name) => Err(io::Error::from_raw_os_error(code(says))),
            _ => Ok(()),
        }
    }

    pub fn passed(name: &'static str) {
        if let Some(points) = points() {
            points.pass(name);
        }
    }

    fn points() -> Option<&'static Points> {
        static POINTS: OnceLock<Option<Points>> = OnceLock::new();
        POINTS.get_or_init(Points::of_environment).as_ref()
    }

    impl Points {
        fn of_environment() -> Option<Points> {
            let wanted = std::env::var("WININETD_TEST_FAULTS").ok();
            let seen = std::env::var_os("WININETD_TEST_FAULTS_SEEN");
            let open = |path| OpenOptions::new().create(true).append(true).open(path).ok();
            (wanted.is_some() || seen.is_some()).then(|| Points {
                wanted: wanted.as_deref().map(read).unwrap_or_default(),
                passes: Mutex::default(),
                seen: seen.and_then(open),
            })
        }

        /// True if this pass must fail.
        fn pass(&self, name: &'static str) -> bool {
            let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
            let number = passes.entry(name).or_default();
            *number = number.saturating_add(1);
            let fails = self.wanted.iter().any(|wanted| wanted.is(name, *number));
            if let Some(mut seen) = self.seen.as_ref() {
                // One write per line, so that a killed process leaves whole lines.
                let line = format!("{name} {number}{}\n", if fails { " failed" } else { "" });
                let _ = seen.write_all(line.as_bytes());
            }
            fails
        }
    }

    impl Wanted {
        fn is(&self, name: &str, number: u32) -> bool {
            self.name == name && (self.first..=self.last).contains(&number)
        }
    }

    /// Ignores what it cannot parse. The test then fails, because its fault does not occur.
    pub(super) fn read(text: &str) -> Vec<Wanted> {
        let one = |text: &str| {
            let (name, range) = text.trim().rsplit_once(':')?;
            let (first, last) = match (range.strip_suffix('+'), range.split_once('-')) {
                (Some(first), _) => (first.parse().ok()?, u32::MAX),
                (None, Some((first, last))) => (first.parse().ok()?, last.parse().ok()?),
                (None, None) => (range.parse().ok()?, range.parse().ok()?),
            };
            Some(Wanted { name: name.to_owned(), first, last })
        };
        text.split(',').filter_map(one).collect()
    }

    #[cfg(unix)]
    fn code(says: Says) -> i32 {
        match says {
            Says::Descriptors | Says::Sockets => libc::EMFILE,
            Says::Memory => libc::ENOMEM,
            Says::Processes => libc::EAGAIN,
            Says::Device => libc::EIO,
            Says::Space => libc::ENOSPC,
            Says::Denied => libc::EACCES,
            Says::Privilege => libc::EPERM,
            Says::Reset => libc::ECONNRESET,
            Says::InUse => libc::EADDRINUSE,
        }
    }

    #[cfg(windows)]
    fn code(says: Says) -> i32 {
        use windows_sys::Win32::Foundation as foundation;
        use windows_sys::Win32::Networking::WinSock as sockets;
        let code = match says {
            Says::Sockets => return sockets::WSAEMFILE,
            Says::Reset => return sockets::WSAECONNRESET,
            Says::InUse => return sockets::WSAEADDRINUSE,
            Says::Descriptors => foundation::ERROR_TOO_MANY_OPEN_FILES,
            Says::Memory => foundation::ERROR_NOT_ENOUGH_MEMORY,
            Says::Processes => foundation::ERROR_NOT_ENOUGH_QUOTA,
            Says::Device => foundation::ERROR_IO_DEVICE,
            Says::Space => foundation::ERROR_DISK_FULL,
            Says::Denied => foundation::ERROR_ACCESS_DENIED,
            Says::Privilege => foundation::ERROR_PRIVILEGE_NOT_HELD,
        };
        code.cast_signed()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fault_is_a_name_and_the_calls_of_it_that_fail() {
            let of = |name: &str, first, last| Wanted { name: name.to_owned(), first, last };
            assert_eq!(read("accept:3"), [of("accept", 3, 3)]);
            assert_eq!(read("child:user:2+, pipe:1-6"), [of("child:user", 2, u32::MAX), of("pipe", 1, 6)]);
            assert_eq!(read("accept, :, pipe:x"), []);
        }

        #[test]
        fn only_the_calls_that_were_named_fail() {
            let points = Points { wanted: read("a:2,b:3+"), passes: Mutex::default(), seen: None };
            let pass = |name| (0..4).map(|_| points.pass(name)).collect::<Vec<_>>();
            assert_eq!(pass("a"), [false, true, false, false]);
            assert_eq!(pass("b"), [false, false, true, true]);
            assert_eq!(pass("c"), [false; 4]);
        }
    }
}
