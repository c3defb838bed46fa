//! Names and SIDs of accounts.

use std::io;
use std::os::windows::io::OwnedHandle;

use windows_sys::Win32::NetworkManagement::NetManagement::{
    LG_INCLUDE_INDIRECT, LOCALGROUP_USERS_INFO_0, MAX_PREFERRED_LENGTH, NetApiBufferFree,
    NetUserGetLocalGroups,
};
use windows_sys::Win32::Security::{
    CreateWellKnownSid, LookupAccountNameW, LookupAccountSidW, PSID, SID_NAME_USE, SidTypeUser,
    SidTypeWellKnownGroup, TOKEN_USER, WinBuiltinAdministratorsSid,
};
use windows_sys::Win32::System::SystemInformation::{ComputerNamePhysicalNetBIOS, GetComputerNameExW};

use super::handle::{check, text_at, wide};
use super::token;

/// In UTF-16 units; no account name is longer.
const LONGEST: usize = 512;

fn text(units: &[u16]) -> String {
    let length = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
    String::from_utf16_lossy(&units[..length])
}

/// This computer's name, the domain of its local accounts.
pub(super) fn of_computer() -> io::Result<String> {
    let mut name = [0u16; LONGEST];
    let mut length = 512;
    // SAFETY: the buffer has the length passed.
    check(unsafe { GetComputerNameExW(ComputerNamePhysicalNetBIOS, name.as_mut_ptr(), &raw mut length) })?;
    Ok(text(&name))
}

fn look_up(name: &str) -> io::Result<(Vec<u64>, SID_NAME_USE)> {
    // The lookup does not know the dot, which means this computer in logons.
    let name = match name.strip_prefix(".\\") {
        Some(account) => wide(format!("{}\\{account}", of_computer()?)),
        None => wide(name),
    };
    let (mut sid, mut sid_bytes) = (vec![0u64; 16], 128);
    let (mut domain, mut domain_units) = ([0u16; LONGEST], 512);
    let mut kind: SID_NAME_USE = 0;
    // SAFETY: the buffers have the lengths passed; the name is NUL-terminated.
    check(unsafe {
        LookupAccountNameW(
            std::ptr::null(),
            name.as_ptr(),
            sid.as_mut_ptr().cast(),
            &raw mut sid_bytes,
            domain.as_mut_ptr(),
            &raw mut domain_units,
            &raw mut kind,
        )
    })?;
    Ok((sid, kind))
}

/// Whether the name belongs to a user. An error if no account has it.
pub(super) fn is_user(name: &str) -> io::Result<bool> {
    let (_, kind) = look_up(name)?;
    // LocalService and NetworkService have the type of a well-known group.
    Ok(kind == SidTypeUser || kind == SidTypeWellKnownGroup)
}

pub(super) fn sid_of(name: &str) -> io::Result<Vec<u64>> {
    Ok(look_up(name)?.0)
}

pub(super) fn of_token(token: &OwnedHandle) -> io::Result<String> {
    let user = token::user_of(token)?;
    // SAFETY: `user` begins with a TOKEN_USER that holds its SID.
    let (_, name) = unsafe { domain_and_name((*user.as_ptr().cast::<TOKEN_USER>()).User.Sid)? };
    Ok(name)
}

/// The name of a SID, with its domain if it has one.
///
/// # Safety
/// `sid` points to a SID.
pub(super) unsafe fn of_sid(sid: PSID) -> io::Result<String> {
    // SAFETY: the caller guarantees the SID.
    let (domain, name) = unsafe { domain_and_name(sid)? };
    Ok(if domain.is_empty() { name } else { format!("{domain}\\{name}") })
}

/// # Safety
/// `sid` points to a SID.
unsafe fn domain_and_name(sid: PSID) -> io::Result<(String, String)> {
    let (mut name, mut name_units) = ([0u16; LONGEST], 512);
    let (mut domain, mut domain_units) = ([0u16; LONGEST], 512);
    let mut kind: SID_NAME_USE = 0;
    // SAFETY: the caller guarantees the SID; the buffers have the lengths passed.
    check(unsafe {
        LookupAccountSidW(
            std::ptr::null(),
            sid,
            name.as_mut_ptr(),
            &raw mut name_units,
            domain.as_mut_ptr(),
            &raw mut domain_units,
            &raw mut kind,
        )
    })?;
    Ok((text(&domain), text(&name)))
}

/// Whether a user is an administrator, also through nested groups. False if unknown. May
/// block on a domain controller.
pub(super) fn is_administrator(user: &str) -> bool {
    let Ok(sid) = administrators() else { return false };
    // SAFETY: the buffer holds a SID.
    let Ok((_, administrators)) = (unsafe { domain_and_name(sid.as_ptr().cast_mut().cast()) }) else {
        return false;
    };
    groups_of(user).iter().any(|group| group.eq_ignore_ascii_case(&administrators))
}

pub(super) fn administrators() -> io::Result<Vec<u64>> {
    let (mut sid, mut bytes) = (vec![0u64; 16], 128);
    // SAFETY: the buffer has the length passed.
    check(unsafe {
        CreateWellKnownSid(
            WinBuiltinAdministratorsSid,
            std::ptr::null_mut(),
            sid.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    })?;
    Ok(sid)
}

fn groups_of(user: &str) -> Vec<String> {
    let user = wide(user);
    let mut buffer: *mut u8 = std::ptr::null_mut();
    let (mut read, mut total) = (0, 0);
    // SAFETY: the name is NUL-terminated; the returned buffer holds `read` entries and is freed.
    unsafe {
        let code = NetUserGetLocalGroups(
            std::ptr::null(),
            user.as_ptr(),
            0,
            LG_INCLUDE_INDIRECT,
            &raw mut buffer,
            MAX_PREFERRED_LENGTH,
            &raw mut read,
            &raw mut total,
        );
        if code != 0 || buffer.is_null() {
            return Vec::new();
        }
        let entries = std::slice::from_raw_parts(buffer.cast::<LOCALGROUP_USERS_INFO_0>(), read as usize);
        let groups = entries.iter().map(|entry| text_at(entry.lgrui0_name).to_string_lossy().into_owned());
        let groups = groups.collect();
        NetApiBufferFree(buffer.cast());
        groups
    }
}
