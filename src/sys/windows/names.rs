//! Names of accounts, as the system knows them.

use std::io;
use std::os::windows::io::OwnedHandle;

use windows_sys::Win32::Security::{
    LookupAccountNameW, LookupAccountSidW, SID_NAME_USE, SidTypeUser, SidTypeWellKnownGroup, TOKEN_USER,
};
use windows_sys::Win32::System::SystemInformation::{ComputerNamePhysicalNetBIOS, GetComputerNameExW};

use super::handle::{check, wide};
use super::process;

/// Longer than any name that an account can have.
const LONGEST: usize = 512;

fn text(units: &[u16]) -> String {
    let length = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
    String::from_utf16_lossy(&units[..length])
}

/// This computer's name, which is the domain of its own accounts.
pub(super) fn of_computer() -> io::Result<String> {
    let mut name = [0u16; LONGEST];
    let mut length = 512;
    // SAFETY: the buffer has the length that is given.
    check(unsafe { GetComputerNameExW(ComputerNamePhysicalNetBIOS, name.as_mut_ptr(), &raw mut length) })?;
    Ok(text(&name))
}

/// Whether the name is a user's, or fails if it is nobody's.
pub(super) fn is_user(name: &str) -> io::Result<bool> {
    let name = wide(name);
    let (mut sid, mut sid_bytes) = ([0u64; 16], 128);
    let (mut domain, mut domain_units) = ([0u16; LONGEST], 512);
    let mut kind: SID_NAME_USE = 0;
    // SAFETY: the buffers have the lengths that are given; the name ends with zero.
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
    // LocalService and NetworkService are groups of one, by their type.
    Ok(kind == SidTypeUser || kind == SidTypeWellKnownGroup)
}

/// The name of a token's user.
pub(super) fn of_token(token: &OwnedHandle) -> io::Result<String> {
    let user = process::token_user(token)?;
    let (mut name, mut name_units) = ([0u16; LONGEST], 512);
    let (mut domain, mut domain_units) = ([0u16; LONGEST], 512);
    let mut kind: SID_NAME_USE = 0;
    // SAFETY: `user` begins with a TOKEN_USER whose SID lies within it; the
    // buffers have the lengths that are given.
    check(unsafe {
        LookupAccountSidW(
            std::ptr::null(),
            (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid,
            name.as_mut_ptr(),
            &raw mut name_units,
            domain.as_mut_ptr(),
            &raw mut domain_units,
            &raw mut kind,
        )
    })?;
    Ok(text(&name))
}
