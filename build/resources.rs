//! Resources of a program: the tree of a section, and the two forms in which
//! linkers take them. Layouts: "PE Format" and "Resource File Formats".

use crate::bytes::{half, to_u32, word};

/// One resource of its kind, in English.
pub struct Resource {
    pub kind: u16,
    pub data: Vec<u8>,
}

/// Every resource has this name,
const NAME: u16 = 1;
/// and this language.
const ENGLISH: u16 = 0x0409;

/// The section of resources, by kind in rising order, and where in it the offsets of
/// their data stand: each has to become an address.
pub fn tree(resources: &[Resource]) -> (Vec<u8>, Vec<usize>) {
    const DIRECTORY: usize = 16;
    const ENTRY: usize = 8;
    const SUBDIRECTORY: u32 = 1 << 31;
    let count = resources.len();
    let names = DIRECTORY + ENTRY * count;
    let one = DIRECTORY + ENTRY;
    let entries = names + 2 * one * count;
    let mut bytes = Vec::new();
    directory(&mut bytes, count);
    for (index, resource) in resources.iter().enumerate() {
        word(&mut bytes, &[resource.kind.into(), to_u32(names + 2 * one * index) | SUBDIRECTORY]);
    }
    for index in 0..count {
        directory(&mut bytes, 1);
        word(&mut bytes, &[NAME.into(), to_u32(names + 2 * one * index + one) | SUBDIRECTORY]);
        directory(&mut bytes, 1);
        word(&mut bytes, &[ENGLISH.into(), to_u32(entries + 16 * index)]);
    }
    let mut addresses = Vec::new();
    let mut at = entries + 16 * count;
    for resource in resources {
        addresses.push(bytes.len());
        word(&mut bytes, &[to_u32(at), to_u32(resource.data.len()), 0, 0]);
        at += resource.data.len().next_multiple_of(8);
    }
    for resource in resources {
        bytes.extend(&resource.data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    (bytes, addresses)
}

fn directory(bytes: &mut Vec<u8>, entries: usize) {
    bytes.extend([0; 14]); // no characteristics, no time, no version, nothing named
    half(bytes, &[u16::try_from(entries).expect("a few")]);
}

/// An object file for the linker of the gnu toolchain, for a processor by its
/// name in Rust.
pub fn object(resources: &[Resource], processor: &str) -> Vec<u8> {
    // The machine, and its relocation that counts an address from the image's.
    let (machine, relocation) = match processor {
        "aarch64" => (0xaa64, 2),
        _ => (0x8664, 3),
    };
    let (section, addresses) = tree(resources);
    const SECTION_AT: usize = 20 + 40;
    let relocations = SECTION_AT + section.len();
    let symbols = relocations + 10 * addresses.len();
    let mut file = Vec::new();
    half(&mut file, &[machine, 1]);
    word(&mut file, &[0, to_u32(symbols), 1]); // no time; one symbol
    half(&mut file, &[0, 0]);
    file.extend(b".rsrc\0\0\0");
    word(&mut file, &[0, 0, to_u32(section.len()), to_u32(SECTION_AT), to_u32(relocations), 0]);
    half(&mut file, &[u16::try_from(addresses.len()).expect("a few"), 0]);
    word(&mut file, &[0x4030_0040]); // initialised data, readable, by fours
    file.extend(section);
    for address in addresses {
        word(&mut file, &[to_u32(address), 0]);
        half(&mut file, &[relocation]);
    }
    file.extend(b".rsrc\0\0\0");
    word(&mut file, &[0]);
    half(&mut file, &[1, 0]); // in the first section, of no type
    file.extend([3, 0]); // static
    word(&mut file, &[4]); // no long names
    file
}

/// A resource file for the linker of the msvc toolchain.
pub fn resource_file(resources: &[Resource]) -> Vec<u8> {
    let mut file = Vec::new();
    // An empty one first tells the format from an older one.
    let empty = Resource { kind: 0, data: Vec::new() };
    for (resource, name, language) in
        std::iter::once((&empty, 0, 0)).chain(resources.iter().map(|resource| (resource, NAME, ENGLISH)))
    {
        word(&mut file, &[to_u32(resource.data.len()), 32]);
        half(&mut file, &[0xffff, resource.kind, 0xffff, name]);
        word(&mut file, &[0]);
        half(&mut file, &[if name == 0 { 0 } else { 0x30 }, language]);
        word(&mut file, &[0, 0]);
        file.extend(&resource.data);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    file
}
