//! The identity by the C library: a forked child has one thread.

use std::ffi::c_int;

use super::account::Account;
use super::checked;

pub(super) unsafe fn set_groups(groups: &[libc::gid_t]) -> Result<(), c_int> {
    // SAFETY: pointer and length are of one slice; getgrouplist counts in int, so the length fits.
    checked(unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) })
}

pub(super) unsafe fn set_gid(gid: libc::gid_t) -> Result<(), c_int> {
    // SAFETY: no pointers. As root it sets the real, effective and saved id.
    checked(unsafe { libc::setgid(gid) })
}

pub(super) unsafe fn set_uid(uid: libc::uid_t) -> Result<(), c_int> {
    // SAFETY: no pointers. As root it sets the real, effective and saved id.
    checked(unsafe { libc::setuid(uid) })
}

pub(super) unsafe fn prove(account: &Account) -> Result<(), c_int> {
    // SAFETY: no pointers.
    unsafe {
        let ids = libc::getuid() == account.uid
            && libc::geteuid() == account.uid
            && libc::getgid() == account.gid
            && libc::getegid() == account.gid;
        let way_back = account.uid != 0
            && (libc::setuid(0) == 0 || libc::seteuid(0) == 0 || (account.gid != 0 && libc::setegid(0) == 0));
        if !ids || way_back { Err(libc::EPERM) } else { Ok(()) }
    }
}
