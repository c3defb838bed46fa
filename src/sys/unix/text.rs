//! Bytes of a file as the system's text. Unix takes them as they are.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

/// Text in the system's code page as UTF-8; `None` where there is none.
pub fn from_code_page(_: &[u8]) -> Option<String> {
    None
}

/// Whether two names of environment variables are the same.
pub fn same_name(a: &OsStr, b: &OsStr) -> bool {
    a == b
}

/// A part of a file as an argument or a name.
pub fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}
