//! Keys and values of the registry below HKEY_LOCAL_MACHINE.

use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::{
    ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS, WIN32_ERROR,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, SECURITY_ATTRIBUTES,
};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, KEY_WOW64_64KEY, KEY_WRITE, REG_BINARY, REG_DWORD, REG_EXPAND_SZ,
    REG_OPTION_NON_VOLATILE, REG_ROUTINE_FLAGS, REG_SZ, REG_VALUE_TYPE, RRF_NOEXPAND, RRF_RT_REG_BINARY,
    RRF_RT_REG_EXPAND_SZ, RRF_RT_REG_SZ, RegCloseKey, RegCreateKeyExW, RegDeleteKeyW, RegDeleteTreeW,
    RegEnumValueW, RegGetValueW, RegOpenKeyExW, RegSetKeySecurity, RegSetValueExW,
};
use zeroize::Zeroizing;

use super::handle::{size, wide};
use super::security::Descriptor;

#[derive(Debug)]
pub struct RegistryKey {
    key: HKEY,
}

/// Buffer size in bytes. The server stores no larger value.
const LARGEST: u32 = 64 * 1024;

fn result(code: WIN32_ERROR) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

impl RegistryKey {
    /// Opens a key to read; `None` if it does not exist.
    pub fn open(path: &str) -> io::Result<Option<RegistryKey>> {
        let (path, mut key) = (wide(path), std::ptr::null_mut());
        // SAFETY: the path is NUL-terminated; the pointer is valid for the call.
        let code = unsafe {
            RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ | KEY_WOW64_64KEY, &raw mut key)
        };
        match code {
            ERROR_FILE_NOT_FOUND => Ok(None),
            code => result(code).map(|()| Some(RegistryKey { key })),
        }
    }

    /// Creates or opens a key. `access` also replaces the access list of an existing key.
    pub fn create(path: &str, access: Option<&Descriptor>) -> io::Result<RegistryKey> {
        let (path, mut key) = (wide(path), std::ptr::null_mut());
        let attributes = access.map(|descriptor| SECURITY_ATTRIBUTES {
            nLength: size::<SECURITY_ATTRIBUTES>(),
            lpSecurityDescriptor: descriptor.raw(),
            bInheritHandle: 0,
        });
        const WRITE_DAC: u32 = 0x0004_0000;
        let rights = KEY_READ | KEY_WRITE | KEY_WOW64_64KEY | if access.is_some() { WRITE_DAC } else { 0 };
        // SAFETY: the path is NUL-terminated; the attributes and descriptor live through the call.
        result(unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                std::ptr::null(),
                REG_OPTION_NON_VOLATILE,
                rights,
                attributes.as_ref().map_or(std::ptr::null(), |attributes| &raw const *attributes),
                &raw mut key,
                std::ptr::null_mut(),
            )
        })?;
        let key = RegistryKey { key };
        if let Some(descriptor) = access {
            let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
            // SAFETY: the key is open; the descriptor lives through the call.
            result(unsafe { RegSetKeySecurity(key.key, what, descriptor.raw()) })?;
        }
        Ok(key)
    }

    fn set(&self, name: &str, kind: REG_VALUE_TYPE, bytes: &[u8]) -> io::Result<()> {
        let name = wide(name);
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        // SAFETY: the name is NUL-terminated; bytes and length match.
        result(unsafe { RegSetValueExW(self.key, name.as_ptr(), 0, kind, bytes.as_ptr(), length) })
    }

    pub fn set_path(&self, name: &str, path: &Path) -> io::Result<()> {
        let bytes: Vec<u8> = wide(path).iter().flat_map(|unit| unit.to_le_bytes()).collect();
        self.set(name, REG_EXPAND_SZ, &bytes)
    }

    pub fn set_number(&self, name: &str, number: u32) -> io::Result<()> {
        self.set(name, REG_DWORD, &number.to_le_bytes())
    }

    pub fn set_bytes(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.set(name, REG_BINARY, bytes)
    }

    /// Reads a path without expanding it; `None` if it does not exist.
    pub fn path(&self, name: &str) -> io::Result<Option<String>> {
        let bytes = self.value(name, RRF_RT_REG_SZ | RRF_RT_REG_EXPAND_SZ | RRF_NOEXPAND)?;
        Ok(bytes.map(|bytes| text(&bytes)))
    }

    /// All string values, without those of more than 64 KiB.
    pub fn texts(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let (mut name, mut bytes) = ([0u16; 16_384], vec![0u8; LARGEST as usize]);
        for index in 0.. {
            let (mut units, mut length, mut kind) = (16_384, LARGEST, 0);
            // SAFETY: the buffers have the lengths passed; reserved parameters are null.
            let code = unsafe {
                RegEnumValueW(
                    self.key,
                    index,
                    name.as_mut_ptr(),
                    &raw mut units,
                    std::ptr::null(),
                    &raw mut kind,
                    bytes.as_mut_ptr(),
                    &raw mut length,
                )
            };
            match code {
                ERROR_NO_MORE_ITEMS => break,
                ERROR_MORE_DATA => continue,
                code => result(code)?,
            }
            if kind == REG_SZ {
                found.push(text(&bytes[..length as usize]));
            }
        }
        Ok(found)
    }

    pub fn bytes(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.value(name, RRF_RT_REG_BINARY)
    }

    fn value(&self, name: &str, kinds: REG_ROUTINE_FLAGS) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let name = wide(name);
        let mut buffer = Zeroizing::new(vec![0u8; LARGEST as usize]);
        let mut length = LARGEST;
        // SAFETY: the name is NUL-terminated; the buffer has the length passed.
        let code = unsafe {
            RegGetValueW(
                self.key,
                std::ptr::null(),
                name.as_ptr(),
                kinds,
                std::ptr::null_mut(),
                buffer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if code == ERROR_FILE_NOT_FOUND {
            return Ok(None);
        }
        result(code)?;
        buffer.truncate(length as usize);
        Ok(Some(buffer))
    }
}

fn text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    String::from_utf16_lossy(&units)
}

impl Drop for RegistryKey {
    fn drop(&mut self) {
        // SAFETY: the key is open and owned.
        unsafe { RegCloseKey(self.key) };
    }
}

/// Deletes a key and its subkeys. A missing key is no error.
pub fn delete_tree(path: &str) -> io::Result<()> {
    let path = wide(path);
    // SAFETY: the path is NUL-terminated.
    match unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, path.as_ptr()) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        code => result(code),
    }
}

pub fn delete_if_empty(path: &str) {
    let path = wide(path);
    // SAFETY: the path is NUL-terminated. The call fails if the key has subkeys.
    unsafe { RegDeleteKeyW(HKEY_LOCAL_MACHINE, path.as_ptr()) };
}
