//! Bytes of a file as the system's text. Files of 2003 are in the code page.

use std::ffi::{OsStr, OsString};

use windows_sys::Win32::Globalization::{CP_ACP, MultiByteToWideChar};

/// Text in the system's code page as UTF-8.
pub fn from_code_page(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some(String::new());
    }
    let length = i32::try_from(bytes.len()).ok()?;
    // SAFETY: a null buffer of length 0 asks for the length; the second call
    // has a buffer of just that length.
    let wide = unsafe {
        let needed = MultiByteToWideChar(CP_ACP, 0, bytes.as_ptr(), length, std::ptr::null_mut(), 0);
        let mut wide = vec![0u16; usize::try_from(needed).ok()?];
        let written = MultiByteToWideChar(CP_ACP, 0, bytes.as_ptr(), length, wide.as_mut_ptr(), needed);
        if written == 0 {
            return None;
        }
        wide
    };
    Some(String::from_utf16_lossy(&wide))
}

/// Whether two names of environment variables are the same, whatever their case.
pub fn same_name(a: &OsStr, b: &OsStr) -> bool {
    a == b || a.to_string_lossy().to_uppercase() == b.to_string_lossy().to_uppercase()
}

/// A part of a file as an argument or a name.
pub fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}
