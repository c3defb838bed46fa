//! A log file with rotation by size. Other programs may read it meanwhile.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::config::trust::{self, Strictness};
use crate::sys::fault::{self, Says};
use crate::sys::files;

/// The size in bytes at which the file is rotated.
const LARGEST: u64 = 10 << 20;
/// The number of rotated files to keep. `FILE.1` is the newest.
const KEPT: u32 = 5;

const EXPOSED: &str = "other accounts can make files in its folder";

pub(super) struct RotatingFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    largest: u64,
    /// The length that triggers rotation: `largest`, or more after a failed rotation.
    rotate_at: u64,
    strictness: Strictness,
    /// Rotation has failed, and the warning was given.
    is_stuck: bool,
    /// The last try to open a new file after a rotation failed.
    is_closed: bool,
    warning: Option<String>,
}

impl RotatingFile {
    pub(super) fn open(path: &Path, strictness: Strictness) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let mut file = RotatingFile {
            path,
            file: None,
            length: 0,
            largest: LARGEST,
            rotate_at: LARGEST,
            strictness,
            is_stuck: false,
            is_closed: false,
            warning: None,
        };
        file.reopen()?;
        Ok(file)
    }

    /// Writes whole lines. Truncates a partial write, so that the next line starts on its own line.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.is_some() && self.length > 0 && self.length + lines.len() as u64 > self.rotate_at {
            self.rotate();
        }
        if self.file.is_none() {
            self.reopen().inspect_err(|error| self.warn_of_closed(error))?;
            self.is_closed = false;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let result = fault::point("log-write", Says::Space).and_then(|()| file.write_all(lines));
        if result.is_err() {
            // A device cannot be truncated; it keeps no partial line either.
            let _ = file.set_len(self.length);
        }
        self.length = file.metadata().map_or(self.length, |found| found.len());
        result
    }

    /// Takes over the state of the previous file, so that a warning is not repeated.
    pub(super) fn continue_from(&mut self, old: &RotatingFile) {
        self.is_stuck = old.is_stuck && old.path == self.path;
    }

    pub(super) fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// Checks the directory again: other accounts that can write to it could choose the file to
    /// open.
    fn reopen(&mut self) -> io::Result<()> {
        if trust::is_log_exposed(&self.path, self.strictness) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, EXPOSED));
        }
        fault::point("log-open", Says::Space)?;
        let file = files::append_regular(&self.path)?;
        self.length = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Renames `FILE` to `FILE.1` and so on. `FILE` grows for now if its rename fails, for example
    /// because a reader on Windows holds it open. It also grows while other accounts can create
    /// files beside it.
    fn rotate(&mut self) {
        if trust::is_log_exposed(&self.path, self.strictness) {
            return self.grow(EXPOSED);
        }
        self.file = None;
        match std::fs::rename(&self.path, self.numbered(0)) {
            Ok(()) => {}
            // Another process has rotated the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.grow(&error.to_string()),
        }
        self.is_stuck = false;
        self.rotate_at = self.largest;
        for number in (0..KEPT).rev() {
            let _ = std::fs::rename(self.numbered(number), self.numbered(number + 1));
        }
    }

    /// Postpones the rotation. Warns once, until a rotation succeeds.
    fn grow(&mut self, cause: &str) {
        self.rotate_at = self.length + self.largest / 10;
        if !std::mem::replace(&mut self.is_stuck, true) {
            let path = self.path.display();
            self.warning = Some(format!(
                "the log file {path} is full and keeps growing, since it cannot be renamed: {cause}"
            ));
        }
    }

    /// Warns once that there is no new file after a rotation, until there is one.
    fn warn_of_closed(&mut self, cause: &io::Error) {
        if !std::mem::replace(&mut self.is_closed, true) {
            let path = self.path.display();
            self.warning = Some(format!("the log file {path} cannot be opened: {cause}"));
        }
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files::testing;

    #[test]
    fn full_log_file_is_rotated_and_the_oldest_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = RotatingFile::open(&path, Strictness::Warn).unwrap();
        (file.largest, file.rotate_at) = (10, 10);
        for line in 0..9 {
            file.write(format!("line {line}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("log"), "line 8\n");
        assert_eq!(read("log.1"), "line 7\n");
        assert_eq!(read("log.5"), "line 3\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6);
    }

    #[test]
    fn link_in_place_of_the_next_log_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("log"), folder.path().join("target"));
        std::fs::write(&target, "").unwrap();
        let mut file = RotatingFile::open(&path, Strictness::Warn).unwrap();
        file.file = None;
        std::fs::remove_file(&path).unwrap();
        if !testing::link(&target, &path) {
            return;
        }
        assert_eq!(file.write(b"line\n").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(std::fs::read(&target).unwrap(), b"");
        std::fs::remove_file(&path).unwrap();
        file.write(b"line\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"line\n");
    }

    #[test]
    fn log_in_a_folder_writable_by_others_is_not_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = RotatingFile::open(&path, Strictness::Refuse).unwrap();
        (file.largest, file.rotate_at) = (10, 10);
        if !testing::share(folder.path(), true) {
            return;
        }
        for line in 0..3 {
            file.write(format!("line {line}\n").as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line 0\nline 1\nline 2\n");
        assert!(file.take_warning().is_some_and(|said| said.ends_with(EXPOSED)));
        assert!(testing::share(folder.path(), false));
        file.write(b"line 3\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line 3\n");
    }

    #[test]
    fn a_file_is_not_reopened_where_others_can_make_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = RotatingFile::open(&path, Strictness::Refuse).unwrap();
        // The state after a rotation whose next file could not be opened.
        file.file = None;
        std::fs::remove_file(&path).unwrap();
        if !testing::share(folder.path(), true) {
            return;
        }
        assert_eq!(file.write(b"line\n").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(!path.exists());
        assert!(file.take_warning().is_some_and(|said| said.ends_with(EXPOSED)));
        assert!(file.write(b"line\n").is_err() && file.take_warning().is_none());
        assert!(testing::share(folder.path(), false));
        file.write(b"line\n").unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_renamed_grows_with_one_warning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let in_the_way = folder.path().join("log.0");
        let mut file = RotatingFile::open(&path, Strictness::Warn).unwrap();
        (file.largest, file.rotate_at) = (10, 10);
        let warnings = |file: &mut RotatingFile| {
            std::fs::create_dir_all(in_the_way.join("full")).unwrap();
            let mut warnings = 0;
            for line in 0..4 {
                file.write(format!("line {line}\n").as_bytes()).unwrap();
                warnings += u32::from(file.take_warning().is_some());
            }
            std::fs::remove_dir_all(&in_the_way).unwrap();
            warnings
        };
        assert_eq!(warnings(&mut file), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
        file.write(b"line 4\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line 4\n");
        assert_eq!(warnings(&mut file), 1);
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        file.write(&[b'\n'; 20]).unwrap();
        assert_eq!((std::fs::read(&path).unwrap().len(), file.take_warning()), (20, None));
    }

    #[test]
    fn a_new_start_writes_behind_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for line in ["a\n", "b\n"] {
            RotatingFile::open(&path, Strictness::Warn).unwrap().write(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a\nb\n");
    }
}
