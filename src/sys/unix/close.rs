//! Closing descriptors in a process that is to hold none of the server's: a new child,
//! or the init that stays behind.

use super::process::descriptor_limit;

/// Closes every descriptor from `first` on. For a process that holds none of
/// its own.
pub(super) fn close_from(first: libc::c_int) {
    close_all_but(first, None);
}

/// Closes every descriptor from `first` on except `kept`, with or without the mark that
/// exec closes it. Neither locks nor allocates: a new child calls it.
pub(super) fn close_all_but(first: libc::c_int, kept: Option<libc::c_int>) {
    let Some(kept) = kept.filter(|&kept| kept >= first) else { return close_range(first, None) };
    if kept > first {
        close_range(first, Some(kept - 1));
    }
    close_range(kept.saturating_add(1), None);
}

/// Closes from `first` to `last`, or to the end.
fn close_range(first: libc::c_int, last: Option<libc::c_int>) {
    #[cfg(target_os = "linux")]
    {
        let end = last.map_or(libc::c_uint::MAX, libc::c_int::cast_unsigned);
        // SAFETY: the caller's process uses none of these. Kernels before 5.9 have no such
        // call, and a seccomp filter may deny it.
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

/// More than any process may have open, unless an administrator has raised `fs.nr_open`.
const MOST_DESCRIPTORS: usize = 1 << 20;

#[cfg(target_os = "linux")]
mod listed {
    //! The open descriptors, as /proc lists them, without memory from an allocator.

    /// Some eighty entries.
    const BUFFER: usize = 2048;
    /// Where an entry has its length, and where its name.
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;

    /// Aligned as the kernel writes entries.
    #[repr(align(8))]
    struct Entries([u8; BUFFER]);

    /// Closes those from `first` to `last`. False if they are not listed.
    pub(super) fn close(first: libc::c_int, last: libc::c_int) -> bool {
        // SAFETY: a path that ends in NUL; the descriptor that comes back is new.
        let list = unsafe {
            libc::open(c"/proc/thread-self/fd".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
        };
        if list < 0 {
            return false;
        }
        let mut entries = Entries([0; BUFFER]);
        let complete = loop {
            // SAFETY: the buffer is as long as is said.
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

    /// The list goes on by numbers, so it does not matter that what was read is closed.
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
            // SAFETY: this thread has a descriptor table of its own from the first call on, and
            // makes what it closes there.
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
