//! Listening sockets in the file system. No client can connect before owner and mode are set.

use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};

use crate::model::listen::UnixSocket;
use crate::model::peer::Peer;

use super::{account, check, groups, trust};

/// Removes the file when dropped, unless another server has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    pub(super) fn of(path: &Path) -> io::Result<SocketFile> {
        let found = path.symlink_metadata()?;
        Ok(SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    fn is_there(&self) -> bool {
        let now = self.path.symlink_metadata();
        now.is_ok_and(|now| (now.dev(), now.ino()) == (self.device, self.inode))
    }

    /// Fails if another server has replaced the file before `listen`: a server that starts at the
    /// same time takes ours for a stale socket.
    pub(super) fn still_ours(self) -> io::Result<SocketFile> {
        if self.is_there() { Ok(self) } else { Err(in_use()) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Resolving the owners may block in the user database.
pub(super) fn bind(path: &Path, wanted: &UnixSocket, backlog: i32) -> io::Result<(OwnedFd, SocketFile)> {
    // First: if a name is wrong, the old socket stays.
    let user = owner(wanted.user.as_deref(), "account", account::user_by_name)?;
    let group = owner(wanted.group.as_deref(), "group", groups::by_name)?;
    own_folder(path.parent().unwrap_or(Path::new("/")))?;
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if !wanted.pass_descriptors {
        refuse_descriptors(&socket);
    }
    socket.bind(&address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => in_use(),
        _ => error,
    })?;
    // Until `listen` the kernel refuses every connection, even if the mode allows it. So bind needs
    // no change of the umask, which all threads share.
    let file = SocketFile::of(path)?;
    if user.is_some() || group.is_some() {
        lchown(path, user, group).map_err(|error| in_words(&error, "giving it to its owner"))?;
    }
    set_mode(path, wanted.mode).map_err(|error| in_words(&error, "its mode"))?;
    socket.listen(backlog)?;
    Ok((socket.into(), file.still_ours()?))
}

/// Lets no client of this listener pass descriptors. Accepted connections inherit it.
///
/// Otherwise the server would close what a client has passed and no program has taken, and a close
/// may wait: that of a TCP socket with SO_LINGER, for example. Kernels before Linux 6.16 lack the
/// option.
pub(super) fn refuse_descriptors(socket: &socket2::Socket) {
    #[cfg(target_os = "linux")]
    {
        const SO_PASSRIGHTS: libc::c_int = 83;
        let refused: libc::c_int = 0;
        let length = libc::socklen_t::try_from(size_of_val(&refused)).unwrap_or(0);
        // SAFETY: the pointer is to a value of the given length. A kernel without it changes nothing.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_PASSRIGHTS,
                (&raw const refused).cast(),
                length,
            )
        };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// Fails if another user can create or replace files in this folder. An impostor could answer the
/// clients, or the server would change mode and owner of a foreign file.
pub(super) fn own_folder(folder: &Path) -> io::Result<()> {
    let mut found = trust::folder_creators(folder)?;
    // A symbolic link may lead through other folders.
    found.extend(trust::folder_creators(&std::fs::canonicalize(folder)?)?);
    let Some((changed, others)) = found.first() else { return Ok(()) };
    let (who, changed) = (others.names(), changed.as_path());
    let message = if trust::is_shared(changed) {
        format!(
            "{who} can create files in {}, and so take the path before this server; use a separate folder",
            changed.display()
        )
    } else {
        format!(
            "{who} can change {}, and so replace the socket; `{}` corrects that",
            changed.display(),
            trust::mend_writers(changed, others)
        )
    };
    Err(io::Error::new(ErrorKind::InvalidInput, message))
}

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
            format!("there is no {what} {name} on this system to own the socket"),
        )),
    }
}

/// Does not follow symbolic links: in a shared folder another user may have replaced the path.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mode = libc::mode_t::try_from(mode & 0o777).map_err(io::Error::other)?;
    // SAFETY: the path is a C string.
    check(unsafe { libc::fchmodat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_SYMLINK_NOFOLLOW) })?;
    Ok(())
}

/// Removes a stale socket, but no other file and no socket that has a listener.
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
    // A full backlog must not block the server.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(in_words(&error, "removing the socket that an earlier server left"))
            }
            _ => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(in_words(&error, "asking whether somebody listens at the socket there"))
        }
        // The connection succeeded, the backlog is full, or the socket takes datagrams.
        _ => Err(in_use()),
    }
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "another program listens there")
}

fn in_words(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

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

/// The process and user at the time of the connect (SO_PEERCRED).
#[cfg(target_os = "linux")]
pub(super) fn peer_of(connection: &OwnedFd) -> Peer {
    // SAFETY: zeroes are a valid ucred, and the length is the structure's.
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
        // The pid of a process outside our PID namespace is 0.
        Ok(peer) => Peer::Unix {
            user: Some(peer.uid),
            process: u32::try_from(peer.pid).ok().filter(|&process| process > 0),
        },
        Err(_) => Peer::Unix { user: None, process: None },
    }
}

/// The user at the time of the connect, see getpeereid(3).
#[cfg(not(target_os = "linux"))]
pub(super) fn peer_of(connection: &OwnedFd) -> Peer {
    let (mut user, mut group) = (0, 0);
    // SAFETY: both pointers are valid for the call.
    let result = unsafe { libc::getpeereid(connection.as_raw_fd(), &raw mut user, &raw mut group) };
    Peer::Unix { user: (result == 0).then_some(user), process: None }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::super::net::{Listener, Socket};
    use super::*;
    use crate::model::listen::Address;
    use crate::model::listen::ListenOptions;

    fn listen(path: &Path, wanted: &UnixSocket) -> io::Result<Listener> {
        Listener::bind(
            &Address::Unix(path.to_owned()),
            &ListenOptions { unix: wanted.clone(), ..ListenOptions::default() },
        )
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        (folder, path)
    }

    async fn accepted(listener: &Listener, path: &Path) -> (UnixStream, Socket, Peer) {
        let client = UnixStream::connect(path).unwrap();
        listener.readable().await.unwrap();
        let (socket, peer) = listener.accept().unwrap().unwrap();
        (client, socket, peer)
    }

    #[tokio::test]
    async fn socket_mode_does_not_depend_on_the_umask() {
        let (_folder, path) = folder();
        let listener = listen(&path, &UnixSocket { mode: 0o622, ..UnixSocket::default() }).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o622);
        assert_eq!(listener.local_addr().unwrap(), Address::Unix(path));
    }

    #[tokio::test]
    async fn a_socket_belongs_to_whom_it_was_given() {
        // SAFETY: no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        let (_folder, path) = folder();
        let wanted =
            UnixSocket { user: Some("daemon".into()), group: Some("daemon".into()), ..UnixSocket::default() };
        let _listener = listen(&path, &wanted).unwrap();
        let found = path.metadata().unwrap();
        assert_eq!(Some(found.uid()), account::user_by_name("daemon").unwrap());
        assert_eq!(Some(found.gid()), groups::by_name("daemon").unwrap());
        assert_ne!(found.uid(), 0);
    }

    #[tokio::test]
    async fn an_owner_who_does_not_exist_is_an_error_that_changes_nothing() {
        let (_folder, path) = folder();
        let wanted = UnixSocket { group: Some("nosuchgroup".into()), ..UnixSocket::default() };
        let error = listen(&path, &wanted).unwrap_err();
        assert!(error.to_string().contains("there is no group nosuchgroup"), "{error}");
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn stale_socket_file_is_replaced() {
        let (_folder, path) = folder();
        // std does not remove the file.
        drop(UnixListener::bind(&path).unwrap());
        let listener = listen(&path, &UnixSocket::default()).unwrap();
        accepted(&listener, &path).await;
    }

    #[tokio::test]
    async fn a_socket_that_somebody_listens_at_is_left_alone() {
        let (_folder, path) = folder();
        let other = UnixListener::bind(&path).unwrap();
        let error = listen(&path, &UnixSocket::default()).unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (ErrorKind::AddrInUse, "another program listens there")
        );
        assert!(bind_hint(&error, &path).unwrap().contains("ss -xlp"));
        other.accept().unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn file_that_is_not_a_socket_is_left_alone() {
        let (_folder, path) = folder();
        std::fs::write(&path, "text").unwrap();
        let error = listen(&path, &UnixSocket::default()).unwrap_err();
        assert!(error.to_string().ends_with("is not a socket and is left alone"), "{error}");
        // The target of a symbolic link stays as well.
        let link = path.with_file_name("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        listen(&link, &UnixSocket::default()).unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
    }

    #[tokio::test]
    async fn the_file_goes_with_the_listener_unless_it_is_anothers() {
        let (_folder, path) = folder();
        drop(listen(&path, &UnixSocket::default()).unwrap());
        assert!(!path.exists());
        let listener = listen(&path, &UnixSocket::default()).unwrap();
        std::fs::rename(&path, path.with_file_name("moved")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_folder_that_others_can_write_gets_no_socket() {
        let (folder, path) = folder();
        for (mode, why) in [(0o777, "everybody can change"), (0o1777, "everybody can create files")] {
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
            let error = listen(&path, &UnixSocket::default()).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(bind_hint(&error, &path), None);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_missing_folder_is_named() {
        let (folder, _) = folder();
        let path = folder.path().join("missing").join("socket");
        let error = listen(&path, &UnixSocket::default()).unwrap_err();
        assert!(bind_hint(&error, &path).unwrap().starts_with("there is no folder "), "{error}");
    }

    #[tokio::test]
    async fn a_client_is_known_by_its_user_and_process() {
        let (_folder, path) = folder();
        let listener = listen(&path, &UnixSocket::default()).unwrap();
        let (_client, socket, peer) = accepted(&listener, &path).await;
        // SAFETY: no preconditions.
        let own = unsafe { libc::geteuid() };
        let process = cfg!(target_os = "linux").then(std::process::id);
        assert_eq!(peer, Peer::Unix { user: Some(own), process });
        assert_eq!(socket.local_addr().unwrap(), Address::Unix(path));
        assert_eq!(socket.counts(false), None);
    }

    #[tokio::test]
    async fn a_text_and_the_end_arrive_although_input_was_not_read() {
        let (_folder, path) = folder();
        let listener = listen(&path, &UnixSocket::default()).unwrap();
        let (mut client, socket, _) = accepted(&listener, &path).await;
        client.write_all(b"unread").unwrap();
        socket.send_text(&[b'x'; crate::model::plan::LONGEST_TEXT]).unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            client.read_to_end(&mut text).unwrap();
            text.len()
        });
        socket.linger().await.unwrap();
        assert_eq!(reader.join().unwrap(), crate::model::plan::LONGEST_TEXT);
    }
}
