//! The group database, and the groups of this process.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;

use super::super::fault::{self, Says};

/// First and largest size of an entry's buffer in bytes. An entry lists all members of a group.
const ROOM: usize = 4096;
const MOST_ROOM: usize = 1 << 22;

/// May query a remote directory service.
pub(super) fn by_name(name: &str) -> io::Result<Option<libc::gid_t>> {
    let Ok(name) = CString::new(OsStr::new(name).as_bytes()) else { return Ok(None) };
    let mut buffer: Vec<c_char> = vec![0; ROOM];
    loop {
        // SAFETY: a group of zeroes and null pointers is a valid value to be overwritten.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call, and the buffer's length is its own.
        let code = unsafe {
            libc::getgrnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        match code {
            0 if found.is_null() => return Ok(None),
            0 => return Ok(Some(entry.gr_gid)),
            libc::ERANGE if buffer.len() < MOST_ROOM => buffer.resize(buffer.len() * 4, 0),
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

pub(super) fn by_number(number: libc::gid_t) -> io::Result<Option<String>> {
    let mut buffer: Vec<c_char> = vec![0; ROOM];
    loop {
        // SAFETY: a group of zeroes and null pointers is a valid value to be overwritten.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call, and the buffer's length is its own.
        let code = unsafe {
            libc::getgrgid_r(number, &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        match code {
            0 if found.is_null() || entry.gr_name.is_null() => return Ok(None),
            0 => {
                // SAFETY: on success the name is a C string in `buffer`, which outlives this use.
                let name = unsafe { CStr::from_ptr(entry.gr_name) };
                return Ok(name.to_str().ok().map(str::to_owned));
            }
            libc::ERANGE if buffer.len() < MOST_ROOM => buffer.resize(buffer.len() * 4, 0),
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Includes the primary group `gid`.
pub(super) fn of_account(name: &CStr, gid: libc::gid_t) -> io::Result<Vec<libc::gid_t>> {
    #[cfg(target_vendor = "apple")]
    type Group = libc::c_int;
    #[cfg(not(target_vendor = "apple"))]
    type Group = libc::gid_t;
    fault::point("account-groups", Says::Memory)?;
    let mut capacity: libc::c_int = 64;
    loop {
        let mut groups: Vec<Group> = vec![0; usize::try_from(capacity).unwrap_or(0)];
        let mut count = capacity;
        // SAFETY: the buffer has capacity for `count` groups, and the name is a C string.
        let result =
            unsafe { libc::getgrouplist(name.as_ptr(), gid as Group, groups.as_mut_ptr(), &raw mut count) };
        if result >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return Ok(groups.into_iter().map(|group| group as libc::gid_t).collect());
        }
        if capacity >= 1 << 16 {
            return Err(io::Error::other("more groups than this system can list"));
        }
        capacity = (capacity * 4).max(count);
    }
}

pub(super) fn own() -> io::Result<Vec<libc::gid_t>> {
    // SAFETY: a count of 0 asks for the number only and writes nothing.
    let count = super::check(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the buffer has capacity for `count` ids.
    let count = super::check(unsafe { libc::getgroups(count, groups.as_mut_ptr()) })?;
    groups.truncate(usize::try_from(count).unwrap_or(0));
    Ok(groups)
}
