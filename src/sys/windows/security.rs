//! Security identifiers and descriptors: how far to trust a SID, and parsing of SDDL.

use std::ffi::c_void;
use std::io;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    IsWellKnownSid, PSECURITY_DESCRIPTOR, PSID, WELL_KNOWN_SID_TYPE, WinAnonymousSid,
    WinAuthenticatedUserSid, WinBatchSid, WinBuiltinAdministratorsSid, WinBuiltinGuestsSid,
    WinBuiltinUsersSid, WinCreatorGroupSid, WinCreatorOwnerRightsSid, WinCreatorOwnerSid, WinInteractiveSid,
    WinLocalSid, WinLocalSystemSid, WinNetworkSid, WinWorldSid,
};

use super::handle::{check, text_at, wide};

#[derive(Debug)]
pub(super) struct Local(pub(super) *mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the system allocated it for LocalFree.
        unsafe { LocalFree(self.0) };
    }
}

#[derive(Debug)]
pub struct Descriptor {
    memory: Local,
}

impl Descriptor {
    pub fn parse(text: &str) -> io::Result<Descriptor> {
        let text = wide(text);
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the string is NUL-terminated; the returned memory is owned.
        check(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                std::ptr::null_mut(),
            )
        })?;
        Ok(Descriptor { memory: Local(descriptor) })
    }

    pub(super) fn raw(&self) -> PSECURITY_DESCRIPTOR {
        self.memory.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SidKind {
    /// Administrators and the system, which can do everything anyway.
    Administrator,
    /// A group that holds ordinary users.
    Anyone,
    Somebody,
}

const ADMINISTRATORS: [WELL_KNOWN_SID_TYPE; 5] = [
    WinLocalSystemSid,
    WinBuiltinAdministratorsSid,
    // Placeholders: a new object gets an entry for its real owner.
    WinCreatorOwnerSid,
    WinCreatorGroupSid,
    WinCreatorOwnerRightsSid,
];

const ANYONE: [WELL_KNOWN_SID_TYPE; 9] = [
    WinWorldSid,
    WinAuthenticatedUserSid,
    WinBuiltinUsersSid,
    WinBuiltinGuestsSid,
    WinInteractiveSid,
    WinNetworkSid,
    WinAnonymousSid,
    WinLocalSid,
    WinBatchSid,
];

/// The Windows installer, which owns the files of Windows.
const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";

/// # Safety
/// `sid` points to a SID.
pub(super) unsafe fn kind(sid: PSID) -> SidKind {
    // SAFETY: the caller guarantees the SID.
    let is_one_of =
        |list: &[WELL_KNOWN_SID_TYPE]| list.iter().any(|&known| unsafe { IsWellKnownSid(sid, known) } != 0);
    // SAFETY: the caller guarantees the SID.
    let written = unsafe { text(sid) };
    if is_one_of(&ANYONE) || is_anyone(&written) {
        SidKind::Anyone
    } else if is_one_of(&ADMINISTRATORS) || is_administrator(&written) {
        SidKind::Administrator
    } else {
        SidKind::Somebody
    }
}

/// Groups of ordinary users by their SID: the users, guests and computers of every domain,
/// and well-known groups that have no constant above.
fn is_anyone(sid: &str) -> bool {
    const OTHERS: [&str; 9] = [
        "S-1-2-1",      // console logon
        "S-1-5-6",      // services
        "S-1-5-14",     // remote interactive logon
        "S-1-5-15",     // this organisation
        "S-1-5-113",    // local accounts
        "S-1-5-32-547", // Power Users
        "S-1-5-32-554", // Pre-Windows 2000 Compatible Access
        "S-1-5-32-555", // Remote Desktop Users
        "S-1-15-2-1",   // all application packages
    ];
    let in_domain =
        sid.starts_with("S-1-5-21-") && ["-513", "-514", "-515"].iter().any(|end| sid.ends_with(end));
    in_domain || OTHERS.contains(&sid)
}

/// The Windows installer, and every domain's administrator, domain admins and enterprise admins.
fn is_administrator(sid: &str) -> bool {
    let in_domain =
        sid.starts_with("S-1-5-21-") && ["-500", "-512", "-519"].iter().any(|end| sid.ends_with(end));
    in_domain || sid == TRUSTED_INSTALLER
}

/// # Safety
/// `sid` points to a SID.
pub(super) unsafe fn text(sid: PSID) -> String {
    let mut written = std::ptr::null_mut();
    // SAFETY: the caller guarantees the SID; the returned string is NUL-terminated and freed.
    unsafe {
        if ConvertSidToStringSidW(sid, &raw mut written) == 0 {
            return String::new();
        }
        let memory = Local(written.cast());
        let text = text_at(written);
        drop(memory);
        text.to_string_lossy().into_owned()
    }
}
