//! Text in configuration files. Files from 2003 use the code page.

use std::ffi::{OsStr, OsString};

use windows_sys::Win32::Globalization::{CP_ACP, MultiByteToWideChar};

pub fn from_code_page(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some(String::new());
    }
    let length = i32::try_from(bytes.len()).ok()?;
    // SAFETY: the first call has no buffer and returns the length; the second has that length.
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

pub fn same_name(a: &OsStr, b: &OsStr) -> bool {
    a == b || a.to_string_lossy().to_uppercase() == b.to_string_lossy().to_uppercase()
}

pub fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}
