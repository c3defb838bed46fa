//! Stored passwords, encrypted by DPAPI in a registry key that only SYSTEM and administrators
//! can open. Both are needed: any program on this computer can ask DPAPI to decrypt, and a
//! copy of the registry would hold clear text.

use std::io;

use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData,
    CryptUnprotectData,
};
use zeroize::{Zeroize, Zeroizing};

use super::registry::{self, RegistryKey};
use super::security::{Descriptor, Local};
use super::user_name::LogonName;
use crate::model::account::UserName;
use crate::model::secret::Secret;

const NOBODY_ELSE: &str = "D:P(A;OICI;KA;;;SY)(A;OICI;KA;;;BA)";

const OURS: &str = r"SOFTWARE\wininetd";

fn service_key(service: &str) -> String {
    format!(r"{OURS}\{service}")
}

fn passwords_key(service: &str) -> String {
    format!(r"{}\Passwords", service_key(service))
}

pub fn store(service: &str, user: &UserName, password: &Secret) -> io::Result<()> {
    let access = Descriptor::parse(NOBODY_ELSE)?;
    let key = RegistryKey::create(&passwords_key(service), Some(&access))?;
    let name = LogonName::of(user).canonical();
    let mut clear: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(1024));
    clear.extend(password.wide().iter().flat_map(|unit| unit.to_le_bytes()));
    key.set_bytes(&name, &seal(&mut clear, &entropy(service, &name))?)
}

/// The password of a user; `None` if none is stored.
pub fn find(service: &str, user: &UserName) -> io::Result<Option<Secret>> {
    let name = LogonName::of(user).canonical();
    let Some(key) = RegistryKey::open(&passwords_key(service))? else { return Ok(None) };
    let Some(mut sealed) = key.bytes(&name)? else { return Ok(None) };
    let clear = open(&mut sealed, &entropy(service, &name))?;
    let mut units: Zeroizing<Vec<u16>> = Zeroizing::new(Vec::with_capacity(clear.len() / 2));
    units.extend(
        clear
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .take_while(|&unit| unit != 0),
    );
    // Capacity for the longest UTF-8, so that growth leaves no unwiped copy.
    let mut text = Zeroizing::new(String::with_capacity(units.len() * 3));
    for letter in char::decode_utf16(units.iter().copied()) {
        text.push(letter.map_err(|_| io::Error::other("the stored password is not text"))?);
    }
    Ok(Some(Secret::of(text)))
}

pub fn forget_all(service: &str) -> io::Result<()> {
    registry::delete_tree(&service_key(service))?;
    registry::delete_if_empty(OURS);
    Ok(())
}

/// Binds a password to its service and user, so that it cannot replace another one.
fn entropy(service: &str, user: &str) -> Vec<u8> {
    format!("wininetd password\0{}\0{user}", service.to_lowercase()).into_bytes()
}

fn blob(bytes: &mut [u8]) -> io::Result<CRYPT_INTEGER_BLOB> {
    Ok(CRYPT_INTEGER_BLOB {
        cbData: u32::try_from(bytes.len()).map_err(io::Error::other)?,
        pbData: bytes.as_mut_ptr(),
    })
}

fn seal(clear: &mut [u8], entropy: &[u8]) -> io::Result<Vec<u8>> {
    let mut entropy = entropy.to_vec();
    let (clear, entropy) = (blob(clear)?, blob(&mut entropy)?);
    let mut sealed = CRYPT_INTEGER_BLOB { cbData: 0, pbData: std::ptr::null_mut() };
    // SAFETY: the blobs point to live memory of their lengths; the result is freed after use.
    unsafe {
        super::handle::check(CryptProtectData(
            &raw const clear,
            std::ptr::null(),
            &raw const entropy,
            std::ptr::null(),
            std::ptr::null(),
            CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN,
            &raw mut sealed,
        ))?;
        let memory = Local(sealed.pbData.cast());
        let bytes = std::slice::from_raw_parts(sealed.pbData, sealed.cbData as usize).to_vec();
        drop(memory);
        Ok(bytes)
    }
}

fn open(sealed: &mut [u8], entropy: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut entropy = entropy.to_vec();
    let (sealed, entropy) = (blob(sealed)?, blob(&mut entropy)?);
    let mut clear = CRYPT_INTEGER_BLOB { cbData: 0, pbData: std::ptr::null_mut() };
    // SAFETY: as in `seal`; the memory is wiped before it is freed.
    unsafe {
        super::handle::check(CryptUnprotectData(
            &raw const sealed,
            std::ptr::null_mut(),
            &raw const entropy,
            std::ptr::null(),
            std::ptr::null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &raw mut clear,
        ))?;
        let memory = Local(clear.pbData.cast());
        let bytes = std::slice::from_raw_parts_mut(clear.pbData, clear.cbData as usize);
        let copy = Zeroizing::new(bytes.to_vec());
        bytes.zeroize();
        drop(memory);
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Password;

    #[test]
    fn sealed_password_opens_only_for_its_user_and_service() {
        let mut clear = "p\u{e4}ss".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let plain = clear.clone();
        let mut sealed = seal(&mut clear, &entropy("s", r".\u")).unwrap();
        assert!(!sealed.windows(plain.len()).any(|window| window == plain));
        assert_eq!(*open(&mut sealed.clone(), &entropy("S", r".\u")).unwrap(), plain);
        assert!(open(&mut sealed, &entropy("s", r".\other")).is_err());
    }

    #[test]
    fn stored_password_is_found_until_it_is_removed() {
        let service = format!("test-{}", std::process::id());
        let user = crate::sys::account::parse_credentials("Davide", Some("x"), &service).unwrap().user;
        assert!(find(&service, &user).unwrap().is_none());
        let Password::Typed(password) = Password::parse("pä ss:{wörd}", &service) else { panic!() };
        store(&service, &user, &password).unwrap();
        let same = crate::sys::account::parse_credentials(r".\dAVIDE", Some("x"), &service).unwrap().user;
        assert_eq!(find(&service, &same).unwrap(), Some(password));
        let other = crate::sys::account::parse_credentials(r"CORP\davide", Some("x"), &service).unwrap().user;
        assert!(find(&service, &other).unwrap().is_none());
        forget_all(&service).unwrap();
        assert!(find(&service, &user).unwrap().is_none());
    }
}
