//! Environment blocks: UTF-16 strings NAME=VALUE, each NUL-terminated and sorted without
//! regard to case, then a zero.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::{OsStrExt, OsStringExt};

pub(super) fn block(variables: &[(OsString, OsString)]) -> Vec<u16> {
    let mut sorted: Vec<_> = variables.iter().collect();
    sorted.sort_by_cached_key(|(name, _)| name.to_string_lossy().to_uppercase());
    let mut block = Vec::new();
    for (name, value) in sorted {
        block.extend(name.encode_wide());
        block.extend(OsStr::new("=").encode_wide());
        block.extend(value.encode_wide());
        block.push(0);
    }
    if block.is_empty() {
        block.push(0);
    }
    block.push(0);
    block
}

/// Reads a block of the system.
///
/// # Safety
/// `block` points to an environment block that ends with two zeroes.
pub(super) unsafe fn variables(mut block: *const u16) -> Vec<(OsString, OsString)> {
    let mut variables = Vec::new();
    loop {
        // SAFETY: the loop stops at the empty string that ends the block.
        let entry = unsafe {
            let length = (0..).take_while(|&at| *block.add(at) != 0).count();
            let entry = std::slice::from_raw_parts(block, length);
            block = block.add(length + 1);
            entry
        };
        if entry.is_empty() {
            return variables;
        }
        // A name may begin with '=' (a drive's directory), so skip the first unit.
        if let Some(at) = entry.iter().skip(1).position(|&unit| unit == u16::from(b'=')) {
            variables.push((OsString::from_wide(&entry[..=at]), OsString::from_wide(&entry[at + 2..])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_sorted_without_case_and_read_back_as_written() {
        let written = [("b", "1"), ("A", "x=y"), ("C", "")].map(|(name, value)| (name.into(), value.into()));
        let block = block(&written);
        // SAFETY: `block` made it.
        let read = unsafe { variables(block.as_ptr()) };
        let expected: Vec<(OsString, OsString)> =
            [("A", "x=y"), ("b", "1"), ("C", "")].map(|(name, value)| (name.into(), value.into())).to_vec();
        assert_eq!(read, expected);
    }

    #[test]
    fn an_empty_block_ends_with_two_zeroes() {
        assert_eq!(block(&[]), [0, 0]);
    }
}
