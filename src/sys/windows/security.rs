//! Security identifiers and descriptors: whose a SID is, and descriptors from
//! their written form.

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

/// Memory that the system has given us.
#[derive(Debug)]
pub(super) struct Local(pub(super) *mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: the system gave it to us, to be freed so.
        unsafe { LocalFree(self.0) };
    }
}

/// A security descriptor.
#[derive(Debug)]
pub struct Descriptor {
    memory: Local,
}

impl Descriptor {
    /// From its written form (SDDL).
    pub fn parse(text: &str) -> io::Result<Descriptor> {
        let text = wide(text);
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the text ends with zero; the memory that comes back is ours.
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

/// Whom a SID means, as far as trust goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SidKind {
    /// Administrators and the system itself: they can do everything anyway.
    Administrator,
    /// Whoever is on this system or reaches it.
    Anyone,
    /// Somebody.
    Somebody,
}

const ADMINISTRATORS: [WELL_KNOWN_SID_TYPE; 5] = [
    WinLocalSystemSid,
    WinBuiltinAdministratorsSid,
    // Whoever creates something; what was created has its owner's entry.
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

/// The installer of Windows itself, which owns its files.
const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";

/// # Safety
/// `sid` points to a SID.
pub(super) unsafe fn kind(sid: PSID) -> SidKind {
    // SAFETY: the caller's promise.
    let is_one_of =
        |list: &[WELL_KNOWN_SID_TYPE]| list.iter().any(|&known| unsafe { IsWellKnownSid(sid, known) } != 0);
    // SAFETY: the caller's promise.
    let written = unsafe { text(sid) };
    if is_one_of(&ANYONE) || is_anyone(&written) {
        SidKind::Anyone
    } else if is_one_of(&ADMINISTRATORS) || is_administrator(&written) {
        SidKind::Administrator
    } else {
        SidKind::Somebody
    }
}

/// Groups that hold ordinary users, by their written form: those of every
/// domain (its users, guests, computers), and those that the list above lacks.
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

/// By their written form: the installer of Windows, and in every domain its
/// administrator and the administrators of the domain and of the enterprise.
fn is_administrator(sid: &str) -> bool {
    let in_domain =
        sid.starts_with("S-1-5-21-") && ["-500", "-512", "-519"].iter().any(|end| sid.ends_with(end));
    in_domain || sid == TRUSTED_INSTALLER
}

/// The written form of a SID.
///
/// # Safety
/// `sid` points to a SID.
pub(super) unsafe fn text(sid: PSID) -> String {
    let mut written = std::ptr::null_mut();
    // SAFETY: the caller's promise; what comes back is a text of ours that ends with zero.
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
