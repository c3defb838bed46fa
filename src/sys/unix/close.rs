//! Closes the server's descriptors in a new child, or in the init of a container.

use super::process::descriptor_limit;

/// The process must use none of these descriptors.
pub(super) fn close_from(first: libc::c_int) {
    close_all_but(first, None);
}

/// Ignores close-on-exec flags. Neither locks nor allocates: a new child calls it.
pub(super) fn close_all_but(first: libc::c_int, kept: Option<libc::c_int>) {
    let Some(kept) = kept.filter(|&kept| kept >= first) else { return close_range(first, None) };
    if kept > first {
        close_range(first, Some(kept - 1));
    }
    close_range(kept.saturating_add(1), None);
}

fn close_range(first: libc::c_int, last: Option<libc::c_int>) {
    #[cfg(target_os = "linux")]
    {
        let end = last.map_or(libc::c_uint::MAX, libc::c_int::cast_unsigned);
        // SAFETY: this process uses none of these. The call fails before Linux 5.9, or by seccomp.
        if unsafe { libc::syscall(libc::SYS_close_range, first.cast_unsigned(), end, 0) } == 0
            || listed::close(first, last.unwrap_or(libc::c_int::MAX))
        {
            return;
        }
    }
    #[cfg(any(target_os = "freebsd", target_os = "dragonfly", target_os = "openbsd", target_os = "netbsd"))]
    if last.is_none() {
        // SAFETY: as above.
        unsafe { libc::closefrom(first) };
        return;
    }
    let limit = descriptor_limit().min(MOST_DESCRIPTORS);
    let limit = libc::c_int::try_from(limit).unwrap_or(libc::c_int::MAX);
    for descriptor in first..last.map_or(limit, |last| last.saturating_add(1)) {
        // SAFETY: as above; one that is not open gives EBADF.
        unsafe { libc::close(descriptor) };
    }
}

/// More than any process may open, unless an administrator has raised `fs.nr_open`.
const MOST_DESCRIPTORS: usize = 1 << 20;

#[cfg(target_os = "linux")]
mod listed {
    //! Reads the open descriptors from /proc without an allocator.

    /// In bytes: about eighty entries.
    const BUFFER: usize = 2048;
    /// Offsets in `struct linux_dirent64`, see getdents64(2).
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;

    #[repr(align(8))]
    struct Entries([u8; BUFFER]);

    /// Both bounds are inclusive. False if /proc does not list the descriptors.
    pub(super) fn close(first: libc::c_int, last: libc::c_int) -> bool {
        // SAFETY: the path ends in NUL; the returned descriptor is new.
        let list = unsafe {
            libc::open(c"/proc/thread-self/fd".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
        };
        if list < 0 {
            return false;
        }
        let mut entries = Entries([0; BUFFER]);
        let complete = loop {
            // SAFETY: the buffer has the given length.
            let length =
                unsafe { libc::syscall(libc::SYS_getdents64, list, entries.0.as_mut_ptr(), entries.0.len()) };
            let Ok(length) = usize::try_from(length) else { break false };
            if length == 0 {
                break true;
            }
            close_of(&entries.0[..length], list, first..=last);
        };
        // SAFETY: made above.
        unsafe { libc::close(list) };
        complete
    }

    /// The list continues by number, so closing its entries skips none.
    fn close_of(mut entries: &[u8], list: libc::c_int, range: std::ops::RangeInclusive<libc::c_int>) {
        while let Some(&[low, high]) = entries.get(LENGTH_AT..LENGTH_AT + 2) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let Some(entry) = entries.get(..length).filter(|entry| entry.len() > NAME_AT) else { return };
            let name = entry[NAME_AT..].split(|&byte| byte == 0).next().unwrap_or_default();
            let number = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            if let Some(descriptor) = number.filter(|number| *number != list && range.contains(number)) {
                // SAFETY: the caller's process does not use it.
                unsafe { libc::close(descriptor) };
            }
            entries = &entries[length..];
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn listed_descriptors_of_a_range_are_closed() {
        let closed = || {
            // SAFETY: unshare gives this thread its own table, where it closes only what it made.
            unsafe {
                assert_eq!(libc::unshare(libc::CLONE_FILES), 0);
                for copy in [100, 101, 700, 701, 702] {
                    assert_eq!(libc::dup2(0, copy), copy);
                }
                assert!(super::listed::close(101, 701));
                [100, 101, 700, 701, 702].map(|copy| libc::fcntl(copy, libc::F_GETFD) < 0)
            }
        };
        let closed = std::thread::spawn(closed).join().unwrap();
        assert_eq!(closed, [false, true, true, true, false]);
    }
}
