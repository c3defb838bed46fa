//! Listening sockets in the file system: made so that nobody can connect
//! before their owner and mode are right, and removed when they are closed.

use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};

use crate::config::plan::UnixSocket;
use crate::core::Peer;

use super::{account, check, groups};

/// The file of a socket that listens. Removed when dropped, if it is still the
/// one that was made: another server may have taken the path meanwhile.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        let found = path.symlink_metadata()?;
        Ok(SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = self.path.symlink_metadata();
        if now.is_ok_and(|now| (now.dev(), now.ino()) == (self.device, self.inode)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes a socket that listens at `path`. The names of its owners are resolved
/// here, which may block where the user database does.
pub(super) fn bind(path: &Path, wanted: &UnixSocket, backlog: i32) -> io::Result<(OwnedFd, SocketFile)> {
    // Before anything is touched: with a wrong name the old socket stays.
    let user = owner(wanted.user.as_deref(), "account", account::user_by_name)?;
    let group = owner(wanted.group.as_deref(), "group", groups::by_name)?;
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => in_use(),
        _ => error,
    })?;
    // Until it listens, whoever connects is refused whatever the mode says. So
    // the umask, which is all threads', needs no change around the bind.
    let file = SocketFile::of(path)?;
    if user.is_some() || group.is_some() {
        lchown(path, user, group).map_err(|error| in_words(&error, "giving it to its owner"))?;
    }
    set_mode(path, wanted.mode).map_err(|error| in_words(&error, "its mode"))?;
    socket.listen(backlog)?;
    Ok((socket.into(), file))
}

/// The number of an owner.
fn owner(
    name: Option<&str>,
    what: &str,
    find: fn(&str) -> io::Result<Option<u32>>,
) -> io::Result<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    match find(name)? {
        Some(number) => Ok(Some(number)),
        None => Err(io::Error::new(
            ErrorKind::NotFound,
            format!("there is no {what} {name} on this system, which the socket is to belong to"),
        )),
    }
}

/// Never through a link: in a folder that others can write, the path may have
/// come to mean a file of somebody else's.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mode = libc::mode_t::try_from(mode & 0o777).map_err(io::Error::other)?;
    // SAFETY: the path is a C string.
    check(unsafe { libc::fchmodat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_SYMLINK_NOFOLLOW) })?;
    Ok(())
}

/// Makes room where a server that is gone has left its socket. What somebody
/// listens at, or what is no socket, is not ours to remove.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                format!("{} is not a socket and is left alone", path.display()),
            ));
        }
        Ok(_) => {}
    }
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog must not hold us.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(in_words(&error, "removing the socket that a server has left there"))
            }
            _ => Ok(()),
        },
        // Gone since we looked.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(in_words(&error, "asking whether somebody listens at the socket there"))
        }
        // Somebody took us in, has a full backlog, or listens for datagrams.
        _ => Err(in_use()),
    }
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "another program listens there")
}

fn in_words(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// What to do about a failed bind, where that is known.
pub(super) fn bind_hint(error: &io::Error, path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("/"));
    match error.kind() {
        ErrorKind::NotFound if !folder.exists() => Some(format!(
            "there is no folder {}; make it, or let systemd do it (RuntimeDirectory=)",
            folder.display()
        )),
        ErrorKind::PermissionDenied => Some(format!(
            "this server may not make sockets in {}, or not give them to that owner; `ls -ld {}` shows who may",
            folder.display(),
            folder.display()
        )),
        ErrorKind::AddrInUse => Some(format!("`ss -xlp src {}` shows who", path.display())),
        ErrorKind::AlreadyExists => Some("write another path, or move that file away".to_owned()),
        _ => None,
    }
}

/// Who connected: the process that did, as the kernel knew it at that moment.
#[cfg(target_os = "linux")]
pub(super) fn peer_of(connection: &OwnedFd) -> Peer {
    // SAFETY: zeroes are a valid ucred to be overwritten, and the length is the structure's.
    let found = unsafe {
        let mut peer: libc::ucred = std::mem::zeroed();
        let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
        let result = libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        );
        check(result).map(|_| peer)
    };
    match found {
        // A process outside of our namespace has no number here.
        Ok(peer) => Peer::Unix {
            user: Some(peer.uid),
            process: u32::try_from(peer.pid).ok().filter(|&process| process > 0),
        },
        Err(_) => Peer::Unix { user: None, process: None },
    }
}

/// Who connected: the user, as the kernel knew it at that moment.
#[cfg(not(target_os = "linux"))]
pub(super) fn peer_of(connection: &OwnedFd) -> Peer {
    let (mut user, mut group) = (0, 0);
    // SAFETY: both pointers are valid for the call.
    let result = unsafe { libc::getpeereid(connection.as_raw_fd(), &raw mut user, &raw mut group) };
    Peer::Unix { user: (result == 0).then_some(user), process: None }
}
