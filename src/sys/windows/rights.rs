//! Rights of accounts, such as the batch logon, in the Local Security Authority.

use std::io;

use windows_sys::Win32::Foundation::{ERROR_PRIVILEGE_NOT_HELD, NTSTATUS};
use windows_sys::Win32::Security::Authentication::Identity::{
    LSA_HANDLE, LSA_OBJECT_ATTRIBUTES, LSA_UNICODE_STRING, LsaAddAccountRights, LsaClose,
    LsaNtStatusToWinError, LsaOpenPolicy, LsaRemoveAccountRights, POLICY_CREATE_ACCOUNT, POLICY_LOOKUP_NAMES,
};

use super::names;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Log on as a batch job: accounts of programs.
    Batch,
    /// Log on as a service: the account of the service itself.
    Service,
    AssignPrimaryToken,
    IncreaseQuota,
    Backup,
    Restore,
}

impl Right {
    fn name(self) -> &'static str {
        match self {
            Right::Batch => "SeBatchLogonRight",
            Right::Service => "SeServiceLogonRight",
            Right::AssignPrimaryToken => "SeAssignPrimaryTokenPrivilege",
            Right::IncreaseQuota => "SeIncreaseQuotaPrivilege",
            Right::Backup => "SeBackupPrivilege",
            Right::Restore => "SeRestorePrivilege",
        }
    }
}

pub const FOR_OTHER_ACCOUNTS: [Right; 4] =
    [Right::AssignPrimaryToken, Right::IncreaseQuota, Right::Backup, Right::Restore];

/// Adds rights to an account, which keeps those it has.
pub fn grant(account: &str, rights: &[Right]) -> io::Result<()> {
    let sid = names::sid_of(account)?;
    let policy = Policy::open(POLICY_CREATE_ACCOUNT | POLICY_LOOKUP_NAMES)?;
    let texts: Vec<Vec<u16>> = rights.iter().map(|right| right.name().encode_utf16().collect()).collect();
    let names: Vec<_> = texts.iter().map(|text| unicode(text)).collect();
    let count = u32::try_from(names.len()).map_err(io::Error::other)?;
    // SAFETY: the SID and the strings live through the call.
    result(unsafe { LsaAddAccountRights(policy.0, sid.as_ptr().cast_mut().cast(), names.as_ptr(), count) })
}

/// Removes all rights of an account, so only for an account of wininetd alone.
pub fn revoke_all(account: &str) -> io::Result<()> {
    let sid = names::sid_of(account)?;
    let policy = Policy::open(POLICY_LOOKUP_NAMES)?;
    // SAFETY: the SID lives through the call; with `true` no list is read.
    result(unsafe {
        LsaRemoveAccountRights(policy.0, sid.as_ptr().cast_mut().cast(), true, std::ptr::null(), 0)
    })
}

/// Advice if this process lacks a right that services have.
pub(super) fn hint(error: &io::Error) -> &'static str {
    let code = error.raw_os_error().and_then(|code| u32::try_from(code).ok());
    if code == Some(ERROR_PRIVILEGE_NOT_HELD) {
        " (starting programs as another account needs the rights of a service; a console has them not)"
    } else {
        ""
    }
}

fn unicode(text: &[u16]) -> LSA_UNICODE_STRING {
    let bytes = u16::try_from(size_of_val(text)).unwrap_or(0);
    LSA_UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: text.as_ptr().cast_mut() }
}

fn result(status: NTSTATUS) -> io::Result<()> {
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: no pointers.
    Err(io::Error::from_raw_os_error(unsafe { LsaNtStatusToWinError(status) }.cast_signed()))
}

struct Policy(LSA_HANDLE);

impl Policy {
    fn open(access: i32) -> io::Result<Policy> {
        let mut policy: LSA_HANDLE = 0;
        // SAFETY: zeroes are valid attributes; null means this computer; the handle is owned.
        unsafe {
            let attributes: LSA_OBJECT_ATTRIBUTES = std::mem::zeroed();
            result(LsaOpenPolicy(
                std::ptr::null(),
                &raw const attributes,
                access.cast_unsigned(),
                &raw mut policy,
            ))?;
        }
        Ok(Policy(policy))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // SAFETY: the handle is open and owned.
        unsafe { LsaClose(self.0) };
    }
}
