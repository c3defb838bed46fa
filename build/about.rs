//! What the program's file says of itself: its version, for administrators and
//! installers, and how Windows is to run it.

use crate::bytes::{half, word};
use crate::resources::Resource;

/// The version of the file (VS_VERSIONINFO).
pub fn version(version: &str, description: &str) -> Resource {
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let high = next() << 16 | next();
    let low = next() << 16;
    let mut fixed = Vec::new();
    // Signature, layout, file and product version, no flags, Windows NT, a program.
    word(&mut fixed, &[0xfeef_04bd, 0x0001_0000, high, low, high, low, 0x3f, 0, 0x0004_0004, 1, 0, 0, 0]);
    let strings: Vec<Vec<u8>> = [
        ("CompanyName", "The wininetd authors"),
        ("FileDescription", description),
        ("FileVersion", version),
        ("InternalName", "wininetd"),
        ("LegalCopyright", "MIT OR Apache-2.0"),
        ("OriginalFilename", "wininetd.exe"),
        ("ProductName", "wininetd"),
        ("ProductVersion", version),
    ]
    .into_iter()
    .map(|(name, text)| {
        let units = text.encode_utf16().count() + 1;
        node(name, true, &wide(text), units, &[])
    })
    .collect();
    let table = node("040904B0", true, &[], 0, &strings);
    let mut english_in_unicode = Vec::new();
    half(&mut english_in_unicode, &[0x0409, 0x04b0]);
    let translation = node("Translation", false, &english_in_unicode, 4, &[]);
    let children =
        [node("StringFileInfo", true, &[], 0, &[table]), node("VarFileInfo", true, &[], 0, &[translation])];
    Resource { kind: 16, data: node("VS_VERSION_INFO", false, &fixed, fixed.len(), &children) }
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A node of the tree that a version is. Its value counts in letters if it is text.
fn node(key: &str, is_text: bool, value: &[u8], value_length: usize, children: &[Vec<u8>]) -> Vec<u8> {
    let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut bytes = Vec::new();
    half(&mut bytes, &[0, u16::try_from(value_length).expect("a short text"), is_text.into()]);
    bytes.extend(wide(key));
    pad(&mut bytes);
    bytes.extend(value);
    for child in children {
        pad(&mut bytes);
        bytes.extend(child);
    }
    let length = u16::try_from(bytes.len()).expect("a small version");
    bytes[..2].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// The manifest: Windows 10 as it is, the caller's rights, long paths; and with a
/// manifest no `wininetd.exe.local` beside the program can redirect its libraries.
pub fn manifest() -> Resource {
    let text = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
  <compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1">
    <application><supportedOS Id="{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"/></application>
  </compatibility>
  <trustInfo xmlns="urn:schemas-microsoft-com:asm.v3">
    <security><requestedPrivileges><requestedExecutionLevel level="asInvoker" uiAccess="false"/></requestedPrivileges></security>
  </trustInfo>
  <application xmlns="urn:schemas-microsoft-com:asm.v3">
    <windowsSettings><longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware></windowsSettings>
  </application>
</assembly>
"#;
    Resource { kind: 24, data: text.as_bytes().to_vec() }
}
