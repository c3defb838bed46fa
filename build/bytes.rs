//! Numbers as the files of Windows have them.

pub fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("a small file")
}

pub fn number(number: usize) -> Vec<u8> {
    to_u32(number).to_le_bytes().to_vec()
}

pub fn half(file: &mut Vec<u8>, numbers: &[u16]) {
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

pub fn word(file: &mut Vec<u8>, numbers: &[u32]) {
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}
