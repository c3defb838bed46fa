//! Text of files. Unix takes bytes as they are.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// Always `None`: Unix has no code page.
pub fn from_code_page(_: &[u8]) -> Option<String> {
    None
}

pub fn same_name(a: &OsStr, b: &OsStr) -> bool {
    a == b
}

pub fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}
