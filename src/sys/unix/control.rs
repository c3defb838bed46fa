//! The control channel on Unix: a socket for its owner only. Both ends check the peer's user with
//! the kernel and do not trust the path.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::super::ControlFault;
use super::super::fault::{self, Says};
use super::process;
use super::unix_socket::{self, SocketFile};

pub const WHO_MAY_ASK: &str = "root and the user who runs it";

/// The longest path of a socket in bytes, without the final NUL.
const LONGEST_PATH: usize =
    size_of::<libc::sockaddr_un>() - std::mem::offset_of!(libc::sockaddr_un, sun_path) - 1;

const BACKLOG: libc::c_int = 16;

/// How long a client waits before it retries a server with a full backlog.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Channel {
    listener: UnixListener,
    // Declared before the folder, which must be empty to be removed.
    file: SocketFile,
    _folder: MadeFolder,
}

/// A folder made for the channel; removed when dropped.
#[derive(Debug)]
struct MadeFolder(Option<PathBuf>);

impl Drop for MadeFolder {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

impl Channel {
    /// Replaces the socket of a killed server. Must run within the event loop.
    pub fn open(path: &Path) -> io::Result<Channel> {
        let path = std::path::absolute(path)?;
        check_length(&path).map_err(|message| io::Error::new(ErrorKind::InvalidInput, message))?;
        let folder = prepare_folder(path.parent().unwrap_or(&path))?;
        fault::point("control-open", Says::Descriptors)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(&path)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(&path, &address)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        let file = SocketFile::of(&path)?;
        // No client can connect before `listen`, so the mode is set in time. The umask stays
        // unchanged: all threads share it.
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o600))?;
        fault::point("control-listen", Says::InUse)?;
        socket.listen(BACKLOG)?;
        let file = file.still_ours()?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(std::os::fd::OwnedFd::from(socket).into())?;
        Ok(Channel { listener, file, _folder: folder })
    }

    /// The next trusted client. Closes all others without an answer.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            fault::point("control-accept", Says::Descriptors)?;
            let (stream, _) = self.listener.accept().await?;
            if stream.peer_cred().is_ok_and(|peer| is_trusted(peer.uid())) {
                return Ok(Stream { stream });
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Connects to a server of root or of our own user.
pub async fn connect(path: &Path) -> Result<Stream, ControlFault> {
    check_length(path).map_err(ControlFault::Name)?;
    let stream = loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::time::sleep(BUSY_PAUSE).await,
            connected => break connected.map_err(fault)?,
        }
    };
    let owner = stream.peer_cred().map_err(ControlFault::Other)?.uid();
    if !is_trusted(owner) {
        return Err(ControlFault::Stranger { owner: format!("user {owner}") });
    }
    Ok(Stream { stream })
}

fn fault(error: io::Error) -> ControlFault {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => ControlFault::Absent,
        ErrorKind::PermissionDenied => ControlFault::NotPermitted(error),
        _ => ControlFault::Other(error),
    }
}

fn is_trusted(user: u32) -> bool {
    // SAFETY: no preconditions.
    user == 0 || user == unsafe { libc::geteuid() }
}

fn check_length(path: &Path) -> Result<(), String> {
    let length = path.as_os_str().as_bytes().len();
    if length <= LONGEST_PATH {
        return Ok(());
    }
    Err(format!(
        "the path of a socket has at most {LONGEST_PATH} bytes, and this one has {length}: use a shorter one"
    ))
}

/// Fails if another user can put a socket at our path. In a sticky folder this is possible before
/// ours exists.
fn prepare_folder(folder: &Path) -> io::Result<MadeFolder> {
    let mode = if process::is_privileged() { 0o755 } else { 0o700 };
    let made = match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => MadeFolder(Some(folder.to_owned())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => MadeFolder(None),
        Err(error) => return Err(io::Error::new(error.kind(), format!("its folder: {error}"))),
    };
    unix_socket::own_folder(folder)?;
    Ok(made)
}

/// A server that answers keeps its socket.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "the file there is not a socket"));
    }
    let asking = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A hung server with a full backlog must not block us.
    asking.set_nonblocking(true)?;
    match asking.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(io::Error::new(ErrorKind::AddrInUse, "another server answers there")),
    }
}

#[derive(Debug)]
pub struct Stream {
    stream: UnixStream,
}

impl Stream {
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => bytes = &bytes[written?..],
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test)
    }

    fn words(opened: io::Result<Channel>) -> String {
        opened.unwrap_err().to_string()
    }

    #[test]
    fn the_socket_is_for_its_owner_and_goes_with_the_server() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("made/control.sock");
            let channel = Channel::open(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            drop(channel);
            assert!(!path.exists());
        });
    }

    #[test]
    fn stale_control_socket_is_replaced_but_a_live_one_is_not() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control.sock");
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(path.exists());
            let first = Channel::open(&path).unwrap();
            assert!(words(Channel::open(&path)).contains("another server answers there"));
            connect(&path).await.unwrap();
            // A server does not remove the file that replaced its own.
            std::fs::remove_file(&path).unwrap();
            let second = Channel::open(&path).unwrap();
            drop(first);
            connect(&path).await.unwrap();
            drop(second);
            std::fs::write(&path, "mine").unwrap();
            assert!(words(Channel::open(&path)).contains("not a socket"));
            assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        });
    }

    #[test]
    fn control_socket_folder_writable_by_others_is_refused() {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            for (mode, why) in [(0o777, "everybody can change"), (0o1777, "everybody can create files")] {
                std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
                let found = words(Channel::open(&folder.path().join("control.sock")));
                assert!(found.contains(why), "{found}");
            }
        });
    }

    #[test]
    fn a_path_that_is_too_long_is_named_with_its_length() {
        run(async {
            let path = PathBuf::from(format!("/{}", "a".repeat(LONGEST_PATH)));
            let expected = format!("at most {LONGEST_PATH} bytes, and this one has {}", LONGEST_PATH + 1);
            assert!(words(Channel::open(&path)).contains(&expected));
            let fault = connect(&path).await.unwrap_err();
            assert!(
                matches!(&fault, ControlFault::Name(message) if message.contains(&expected)),
                "{fault:?}"
            );
        });
    }

    #[cfg(target_os = "linux")]
    fn become_nobody() {
        // SAFETY: the raw call changes this thread's credentials only.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) }, 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn control_channel_accepts_no_other_user_on_either_side() {
        if !process::is_privileged() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let theirs = folder.path().join("theirs.sock");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&theirs).unwrap()).unwrap();
        let listen = move || {
            become_nobody();
            socket.listen(1).unwrap();
            socket
        };
        let _listening = std::thread::spawn(listen).join().unwrap();
        run(async {
            let fault = connect(&theirs).await.unwrap_err();
            assert!(matches!(&fault, ControlFault::Stranger { owner } if owner == "user 65534"), "{fault:?}");

            let path = folder.path().join("control.sock");
            let mut channel = Channel::open(&path).unwrap();
            let nobody = |path: PathBuf| {
                move || {
                    become_nobody();
                    let stream = std::os::unix::net::UnixStream::connect(path)?;
                    io::Read::read(&mut &stream, &mut [0])
                }
            };
            // The mode refuses the client; under a wider mode the server refuses it.
            let refused = std::thread::spawn(nobody(path.clone())).join().unwrap().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
            let turned_away = tokio::task::spawn_blocking(nobody(path));
            tokio::select! {
                _ = channel.accept() => panic!("a stranger was accepted"),
                end = turned_away => assert!(matches!(end.unwrap(), Ok(0) | Err(_))),
            }
        });
    }
}
