//! A DLL that holds a message table and nothing else, byte by byte: message
//! compilers differ between toolchains, or are not there, and the format is
//! small. Layouts: "PE Format" and MESSAGE_RESOURCE_DATA of the Windows SDK.

use crate::bytes::{half, number, to_u32, word};
use crate::resources::{Resource, tree};

/// What stands below each sentence. `!S!`, or viewers would take `%1` in the
/// text itself (a part of an IPv6 address, say) for an insertion.
const DETAILS: &str = "\r\n\r\n%1!S!\r\n";

/// The bytes of the library with these numbers and sentences, in rising order.
pub fn library(messages: &[(u32, &str)]) -> Vec<u8> {
    const MESSAGE_TABLE: u16 = 11;
    let (mut section, addresses) = tree(&[Resource { kind: MESSAGE_TABLE, data: table(messages) }]);
    for at in addresses {
        let offset = u32::from_le_bytes([section[at], section[at + 1], section[at + 2], section[at + 3]]);
        section[at..at + 4].copy_from_slice(&(to_u32(SECTION_ADDRESS) + offset).to_le_bytes());
    }
    image(&section)
}

/// MESSAGE_RESOURCE_DATA: a block for each number, then their texts.
fn table(messages: &[(u32, &str)]) -> Vec<u8> {
    let mut blocks = number(messages.len());
    let mut entries = Vec::new();
    let first = 4 + 12 * messages.len();
    for (id, sentence) in messages {
        blocks.extend([*id, *id, to_u32(first + entries.len())].iter().flat_map(|word| word.to_le_bytes()));
        let text = format!("{}{DETAILS}\0", sentence.replace('%', "%%"));
        let mut text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        text.resize(text.len().next_multiple_of(4), 0);
        let length = u16::try_from(text.len() + 4).expect("a short text");
        const UNICODE: u16 = 1;
        entries.extend(length.to_le_bytes());
        entries.extend(UNICODE.to_le_bytes());
        entries.extend(text);
    }
    blocks.extend(entries);
    blocks
}

/// Where the only section is in memory,
const SECTION_ADDRESS: usize = 0x1000;
/// and in the file, where everything is a multiple of this.
const FILE_ALIGNMENT: usize = 0x200;

/// The file: headers, then the section.
fn image(section: &[u8]) -> Vec<u8> {
    let raw = section.len().next_multiple_of(FILE_ALIGNMENT);
    let memory = section.len().next_multiple_of(SECTION_ADDRESS);
    const HEADER: usize = 0x40;
    let mut file = vec![0; HEADER];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c..0x40].copy_from_slice(&number(HEADER));
    file.extend(b"PE\0\0");
    // COFF: x64 (any system reads it as data), one section, no time, so that
    // the same texts make the same file.
    half(&mut file, &[0x8664, 1]);
    file.extend([0; 12]);
    half(&mut file, &[240, 0x2022]); // the next header's size; executable, large addresses, DLL
    half(&mut file, &[0x20b, 0]);
    word(&mut file, &[0, to_u32(raw), 0, 0, to_u32(SECTION_ADDRESS)]);
    file.extend(0x1_8000_0000u64.to_le_bytes());
    word(&mut file, &[to_u32(SECTION_ADDRESS), to_u32(FILE_ALIGNMENT)]);
    half(&mut file, &[6, 0, 0, 0, 6, 0]); // system 6.0, no version of ours, subsystem 6.0
    word(&mut file, &[0, to_u32(SECTION_ADDRESS + memory), to_u32(FILE_ALIGNMENT), 0]);
    half(&mut file, &[2, 0x540]); // no console; movable, no code in data, no handlers
    for size in [0x10_0000u64, 0x1000, 0x10_0000, 0x1000] {
        file.extend(size.to_le_bytes());
    }
    word(&mut file, &[0, 16]);
    for directory in 0..16 {
        const RESOURCES: usize = 2;
        let used = directory == RESOURCES;
        word(&mut file, &if used { [to_u32(SECTION_ADDRESS), to_u32(section.len())] } else { [0, 0] });
    }
    file.extend(b".rsrc\0\0\0");
    word(&mut file, &[to_u32(section.len()), to_u32(SECTION_ADDRESS), to_u32(raw), to_u32(FILE_ALIGNMENT)]);
    file.extend([0; 12]);
    word(&mut file, &[0x4000_0040]); // initialised data, readable
    file.resize(FILE_ALIGNMENT, 0);
    file.extend(section);
    file.resize(FILE_ALIGNMENT + raw, 0);
    file
}
