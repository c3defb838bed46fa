//! The identity of one thread, by system calls: the C library would change all threads.

use std::ffi::c_int;

use super::account::Account;
use super::checked;

// 32-bit x86 and ARM have 16-bit ids under the plain names.
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
use libc::{
    SYS_getresgid as GETRESGID, SYS_getresuid as GETRESUID, SYS_setgroups as SETGROUPS,
    SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID,
};
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
use libc::{
    SYS_getresgid32 as GETRESGID, SYS_getresuid32 as GETRESUID, SYS_setgroups32 as SETGROUPS,
    SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID,
};

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

pub(super) unsafe fn set_groups(groups: &[libc::gid_t]) -> Result<(), c_int> {
    // SAFETY: pointer and length are of one slice.
    checked(unsafe { libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()) })
}

pub(super) unsafe fn set_gid(gid: libc::gid_t) -> Result<(), c_int> {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(SETRESGID, gid, gid, gid) })
}

pub(super) unsafe fn set_uid(uid: libc::uid_t) -> Result<(), c_int> {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(SETRESUID, uid, uid, uid) })
}

/// Drops all capabilities unless the account is root, then proves that the child cannot go back.
pub(super) unsafe fn prove(account: &Account) -> Result<(), c_int> {
    let (mut real, mut effective, mut saved) = (0u32, 0u32, 0u32);
    // SAFETY: three valid pointers to ids; the capability structures have the layout of version 3.
    unsafe {
        if account.uid != 0 {
            // Without root, a server keeps CAP_SETUID across setresuid. The program must not have
            // it.
            libc::syscall(libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
            let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
            let none = [0u32; 6];
            checked(libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()))?;
        }
        checked(libc::syscall(GETRESUID, &raw mut real, &raw mut effective, &raw mut saved))?;
        if [real, effective, saved] != [account.uid; 3] {
            return Err(libc::EPERM);
        }
        checked(libc::syscall(GETRESGID, &raw mut real, &raw mut effective, &raw mut saved))?;
        if [real, effective, saved] != [account.gid; 3] {
            return Err(libc::EPERM);
        }
        let unchanged = u32::MAX;
        if account.uid != 0
            && (libc::syscall(SETRESUID, unchanged, 0, unchanged) != -1
                || (account.gid != 0 && libc::syscall(SETRESGID, unchanged, 0, unchanged) != -1))
        {
            return Err(libc::EPERM);
        }
    }
    Ok(())
}
