//! Which accounts can change or read a file or folder, by its owner and access list.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, GENERIC_ALL, GENERIC_READ, GENERIC_WRITE};
use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_FILE_OBJECT};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, EqualSid, GetAce, INHERIT_ONLY_ACE,
    OWNER_SECURITY_INFORMATION, PSID, TOKEN_USER,
};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_ADD_FILE, FILE_APPEND_DATA, FILE_ATTRIBUTE_REPARSE_POINT, FILE_DELETE_CHILD,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_READ_DATA,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA,
    READ_CONTROL, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::SystemServices::{
    ACCESS_ALLOWED_ACE_TYPE, ACCESS_ALLOWED_CALLBACK_ACE_TYPE, ACCESS_DENIED_ACE_TYPE,
};

use super::super::{Other, Others};
use super::security::{self, Local, SidKind};
use super::{names, token};

const CHANGE_FILE: u32 =
    FILE_WRITE_DATA | FILE_APPEND_DATA | DELETE | WRITE_DAC | WRITE_OWNER | GENERIC_WRITE | GENERIC_ALL;
/// Without FILE_ADD_SUBDIRECTORY: by default every user may add folders to C:\.
const CHANGE_FOLDER: u32 =
    FILE_ADD_FILE | FILE_DELETE_CHILD | DELETE | WRITE_DAC | WRITE_OWNER | GENERIC_WRITE | GENERIC_ALL;
/// Rights to rename or delete a folder, or an entry in it.
const RENAME_FOLDER: u32 = FILE_DELETE_CHILD | DELETE | WRITE_DAC | WRITE_OWNER | GENERIC_WRITE | GENERIC_ALL;
const CHANGE_LINK: u32 = CHANGE_FOLDER | FILE_WRITE_ATTRIBUTES;
const READ_FILE: u32 = FILE_READ_DATA | GENERIC_READ | GENERIC_ALL;

pub fn file_writers(file: &File) -> io::Result<Others> {
    with_rights(file, CHANGE_FILE, true)
}

pub fn file_readers(file: &File) -> io::Result<Others> {
    with_rights(file, READ_FILE, false)
}

/// The folders, innermost first, in which others can change what this path leads to.
/// Checks every junction on the path by itself, and the folders above its target.
pub fn folder_writers(folder: &Path) -> io::Result<Vec<(PathBuf, Others)>> {
    let real = || std::fs::canonicalize(folder).map(super::paths::plain).ok();
    let mut found: Vec<(PathBuf, Others)> = Vec::new();
    for look in looks(folder, is_link, real) {
        let others = match look.open().and_then(|opened| with_rights(&opened, look.rights, true)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => unknown(),
            others => others?,
        };
        let finding = (look.path, others);
        if !finding.1.is_empty() && !found.contains(&finding) {
            found.push(finding);
        }
    }
    Ok(found)
}

/// Same as [`folder_writers`], which counts the right to create a file.
pub fn folder_creators(folder: &Path) -> io::Result<Vec<(PathBuf, Others)>> {
    folder_writers(folder)
}

/// Always false: on Windows each account has a folder of its own for temporary files.
pub fn is_shared(_folder: &Path) -> bool {
    false
}

#[derive(Debug, PartialEq, Eq)]
struct Look {
    path: PathBuf,
    of_link: bool,
    rights: u32,
}

impl Look {
    fn open(&self) -> io::Result<File> {
        let link = if self.of_link { FILE_FLAG_OPEN_REPARSE_POINT } else { 0 };
        OpenOptions::new()
            .access_mode(READ_CONTROL | FILE_READ_ATTRIBUTES)
            .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | link)
            .open(&self.path)
    }
}

/// The folder and its ancestors. If one is a link: also it, the real folder and its ancestors.
fn looks(
    folder: &Path,
    is_link: impl Fn(&Path) -> bool,
    real: impl FnOnce() -> Option<PathBuf>,
) -> Vec<Look> {
    let mut looks = Vec::new();
    let ways = |folder: &Path, looks: &mut Vec<Look>| {
        let mut rights = CHANGE_FOLDER;
        let mut has_link = false;
        for path in folder.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            looks.push(Look { path: path.to_owned(), of_link: false, rights });
            if is_link(path) {
                has_link = true;
                looks.push(Look { path: path.to_owned(), of_link: true, rights: CHANGE_LINK });
            }
            // In an ancestor, only the rights to replace the folder below it matter.
            rights = RENAME_FOLDER;
        }
        has_link
    };
    if ways(folder, &mut looks)
        && let Some(real) = real()
    {
        ways(&real, &mut looks);
    }
    looks
}

fn is_link(folder: &Path) -> bool {
    let found = std::fs::symlink_metadata(folder);
    found.is_ok_and(|found| found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0)
}

/// Commands that leave these accounts only the right to read and execute: programs of other
/// accounts must still start. icacls cannot remove inherited entries, and its `/grant:r` keeps
/// entries for new files and folders. The caller puts the result in backquotes.
pub fn mend_writers(path: &Path, others: &Others) -> String {
    mend(path, others, Some(if path.is_dir() { "(OI)(CI)RX" } else { "RX" }))
}

pub fn mend_readers(path: &Path, others: &Others) -> String {
    mend(path, others, None)
}

fn mend(path: &Path, others: &Others, leave: Option<&str>) -> String {
    let each = |end: &str| others.iter().map(|other| format!(" *{}{end}", other.id)).collect::<String>();
    let mut commands = vec!["/inheritance:d".to_owned(), format!("/remove:g{}", each(""))];
    commands.extend(leave.map(|rights| format!("/grant{}", each(&format!(":{rights}")))));
    let commands: Vec<String> =
        commands.into_iter().map(|what| format!("icacls \"{}\" {what}", path.display())).collect();
    commands.join("`, `")
}

/// An access list that the server cannot read counts as open to everyone.
fn unknown() -> Others {
    let name = "somebody (this account may not look at its access list)".to_owned();
    Others { anyone: vec![Other { name, id: "S-1-1-0".to_owned() }], some: Vec::new() }
}

fn with_rights(file: &File, rights: u32, owner_counts: bool) -> io::Result<Others> {
    let mut owner: PSID = std::ptr::null_mut();
    let mut list: *mut ACL = std::ptr::null_mut();
    let mut descriptor: *mut c_void = std::ptr::null_mut();
    // SAFETY: the handle is open; the pointers returned lie within the descriptor, freed below.
    let code = unsafe {
        GetSecurityInfo(
            file.as_raw_handle(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
            &raw mut owner,
            std::ptr::null_mut(),
            &raw mut list,
            std::ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if code != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    let memory = Local(descriptor);
    // SAFETY: owner and list lie within the descriptor, which lives until the function ends.
    let found = unsafe { named(owner, list, rights, owner_counts) };
    drop(memory);
    Ok(found)
}

/// # Safety
/// `owner` points to a SID or is null, `list` to an access list or is null.
unsafe fn named(owner: PSID, list: *const ACL, rights: u32, owner_counts: bool) -> Others {
    let mut found = Found { own: token::own_user().ok(), others: Others::default() };
    // SAFETY: the caller guarantees both pointers.
    unsafe {
        if list.is_null() {
            found.others.anyone.push(Other { name: "Everyone".to_owned(), id: "S-1-1-0".to_owned() });
        } else {
            found.entries(list, rights);
        }
        // An owner can always change the access list.
        if owner_counts && !owner.is_null() {
            found.add(owner);
        }
    }
    found.others
}

struct Found {
    own: Option<Vec<u64>>,
    others: Others,
}

impl Found {
    /// # Safety
    /// `list` is a valid access list.
    unsafe fn entries(&mut self, list: *const ACL, rights: u32) {
        // An entry that denies a right overrides later entries of the same SID.
        let mut denied: Vec<(PSID, u32)> = Vec::new();
        // SAFETY: the list is valid, and GetAce returns its entries. In all three types the SID
        // begins at the same offset.
        unsafe {
            for index in 0..u32::from((*list).AceCount) {
                let mut entry: *mut c_void = std::ptr::null_mut();
                if GetAce(list, index, &raw mut entry) == 0 {
                    continue;
                }
                let header = &*entry.cast::<ACE_HEADER>();
                if u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
                    continue;
                }
                let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
                let sid: PSID = (&raw mut (*entry).SidStart).cast();
                let mask = (*entry).Mask;
                match u32::from(header.AceType) {
                    ACCESS_DENIED_ACE_TYPE => denied.push((sid, mask)),
                    ACCESS_ALLOWED_ACE_TYPE | ACCESS_ALLOWED_CALLBACK_ACE_TYPE => {
                        let same = denied.iter().filter(|(other, _)| EqualSid(*other, sid) != 0);
                        let taken = same.fold(0, |taken, (_, mask)| taken | mask);
                        if mask & !taken & rights != 0 {
                            self.add(sid);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// # Safety
    /// `sid` points to a SID.
    unsafe fn add(&mut self, sid: PSID) {
        // SAFETY: the caller guarantees the SID; `own` begins with a TOKEN_USER.
        unsafe {
            let kind = security::kind(sid);
            let id = security::text(sid);
            if kind == SidKind::Administrator || self.others.iter().any(|other| other.id == id) {
                return;
            }
            let name = names::of_sid(sid);
            if kind == SidKind::Anyone {
                self.others.anyone.push(Other { name: name.unwrap_or_else(|_| id.clone()), id });
                return;
            }
            let ours = |own: &Vec<u64>| EqualSid((*own.as_ptr().cast::<TOKEN_USER>()).User.Sid, sid) != 0;
            let trusted = self.own.as_ref().is_some_and(ours)
                || name.as_ref().is_ok_and(|name| names::is_administrator(name));
            if !trusted {
                self.others.some.push(Other { name: name.unwrap_or_else(|_| id.clone()), id });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Security::{GetSecurityDescriptorDacl, GetSecurityDescriptorOwner};

    use super::super::security::Descriptor;
    use super::*;

    fn writers(sddl: &str, rights: u32) -> (Vec<String>, Vec<String>) {
        let descriptor = Descriptor::parse(sddl).unwrap();
        let (mut owner, mut list) = (std::ptr::null_mut(), std::ptr::null_mut());
        let (mut present, mut defaulted) = (0, 0);
        // SAFETY: owner and list lie within the descriptor, which lives longer.
        let found = unsafe {
            GetSecurityDescriptorOwner(descriptor.raw(), &raw mut owner, &raw mut defaulted);
            GetSecurityDescriptorDacl(descriptor.raw(), &raw mut present, &raw mut list, &raw mut defaulted);
            named(owner, list, rights, true)
        };
        let ids = |others: Vec<Other>| others.into_iter().map(|other| other.id).collect();
        (ids(found.anyone), ids(found.some))
    }

    const SOMEBODY: &str = "S-1-5-21-1-2-3-1234";

    #[test]
    fn ordinary_writers_are_told_apart_from_administrators() {
        let system = "O:BAG:BAD:(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;S-1-5-21-1-2-3-512)";
        assert_eq!(writers(system, CHANGE_FILE), (vec![], vec![]));
        for (name, id) in [
            ("WD", "S-1-1-0"),
            ("AU", "S-1-5-11"),
            ("BU", "S-1-5-32-545"),
            ("BG", "S-1-5-32-546"),
            ("IU", "S-1-5-4"),
            ("NU", "S-1-5-2"),
            ("S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-513"),
            ("PU", "S-1-5-32-547"),
        ] {
            let entry = format!("{system}(A;;FW;;;{name})");
            assert_eq!(writers(&entry, CHANGE_FILE), (vec![id.to_owned()], vec![]));
        }
        let single = format!("{system}(A;;FW;;;{SOMEBODY})");
        assert_eq!(writers(&single, CHANGE_FILE), (vec![], vec![SOMEBODY.to_owned()]));
    }

    #[test]
    fn read_rights_and_inherit_only_rights_are_not_write_rights() {
        assert_eq!(writers("O:BAG:BAD:(A;;FRFX;;;WD)", CHANGE_FILE), (vec![], vec![]));
        assert_eq!(writers("O:BAG:BAD:(A;OICIIO;FA;;;WD)", CHANGE_FOLDER), (vec![], vec![]));
        // By default every user may add folders to C:\, which gives no access to files there.
        assert_eq!(writers("O:BAG:BAD:(A;CI;LC;;;AU)", CHANGE_FOLDER), (vec![], vec![]));
        assert_eq!(writers("O:BAG:BAD:(A;;DC;;;AU)", CHANGE_FOLDER).0.len(), 1);
    }

    #[test]
    fn deny_entry_before_allow_entry_wins() {
        assert_eq!(writers("O:BAG:BAD:(D;;FA;;;WD)(A;;FA;;;WD)", CHANGE_FILE), (vec![], vec![]));
        assert_eq!(writers("O:BAG:BAD:(A;;FA;;;WD)(D;;FA;;;WD)", CHANGE_FILE).0.len(), 1);
        assert_eq!(writers("O:BAG:BAD:(D;;FR;;;WD)(A;;FA;;;WD)", CHANGE_FILE).0.len(), 1);
    }

    #[test]
    fn no_list_at_all_means_everybody_and_an_owner_can_always_write() {
        assert_eq!(writers("O:BAG:BA", CHANGE_FILE).0, ["S-1-1-0"]);
        assert_eq!(writers(&format!("O:{SOMEBODY}G:BAD:(A;;FA;;;BA)"), CHANGE_FILE).1, [SOMEBODY]);
    }

    #[test]
    fn junction_and_its_target_are_both_checked() {
        let seen = |link: &str, real: &str| -> Vec<(String, bool)> {
            let looks =
                looks(Path::new(r"C:\a\b\c"), |path| path == Path::new(link), || Some(PathBuf::from(real)));
            looks.into_iter().map(|look| (look.path.display().to_string(), look.of_link)).collect()
        };
        let folder = |path: &str| (path.to_owned(), false);
        let plain = [r"C:\a\b\c", r"C:\a\b", r"C:\a", r"C:\"].map(folder);
        assert_eq!(seen("none", r"D:\t\c"), plain);
        let mut all = plain.to_vec();
        all.insert(2, (r"C:\a\b".to_owned(), true));
        all.extend([r"D:\t\c", r"D:\t", r"D:\"].map(folder));
        assert_eq!(seen(r"C:\a\b", r"D:\t\c"), all);
    }

    #[test]
    fn right_to_redirect_a_junction_counts_as_write_right() {
        // Redirecting a link takes the right to write its data or attributes.
        for right in ["0x1", "0x100", "0x2"] {
            let entry = format!("O:BAG:BAD:(A;;{right};;;BU)");
            let found = writers(&entry, CHANGE_LINK);
            assert_eq!(found.0.is_empty(), right == "0x1", "{right}");
        }
        assert_eq!(writers("O:BAG:BAD:(A;;0x100;;;BU)", CHANGE_FOLDER), (vec![], vec![]));
    }

    /// `/grant:r` replaces only entries with the same inheritance flags. A folder below a
    /// drive's root inherits entries with other flags.
    #[test]
    fn a_folder_is_mended_in_three_steps() {
        let users = Other { name: "Users".to_owned(), id: "S-1-5-32-545".to_owned() };
        let others = Others { anyone: vec![users], some: Vec::new() };
        let folder = tempfile::tempdir().unwrap();
        let (path, users) = (folder.path().display(), "*S-1-5-32-545");
        assert_eq!(
            mend_writers(folder.path(), &others),
            format!(
                "icacls \"{path}\" /inheritance:d`, `icacls \"{path}\" /remove:g {users}`, \
                 `icacls \"{path}\" /grant {users}:(OI)(CI)RX"
            )
        );
        let file = folder.path().join("file");
        assert!(mend_writers(&file, &others).ends_with("/grant *S-1-5-32-545:RX"));
        assert!(mend_readers(&file, &others).ends_with("/remove:g *S-1-5-32-545"));
    }
}
