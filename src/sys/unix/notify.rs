//! Tells systemd the state of the server by datagrams, see sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
}

impl NotifySocket {
    /// `None` without a usable NOTIFY_SOCKET.
    pub fn of_environment() -> Option<NotifySocket> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        NotifySocket::to(&name).ok()
    }

    fn to(name: &OsStr) -> io::Result<NotifySocket> {
        let socket = UnixDatagram::unbound()?;
        connect(&socket, name)?;
        // A slow manager would kill the server for a missing message. A stuck one must not block
        // it.
        socket.set_write_timeout(Some(std::time::Duration::from_secs(2)))?;
        Ok(NotifySocket { socket })
    }

    pub fn say(&self, words: &str) {
        let _ = self.socket.send(words.as_bytes());
    }
}

/// A leading `@` means the abstract namespace, see unix(7).
#[cfg(target_os = "linux")]
fn connect(socket: &UnixDatagram, name: &OsStr) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?),
        None => socket.connect(name),
    }
}

#[cfg(not(target_os = "linux"))]
fn connect(socket: &UnixDatagram, name: &OsStr) -> io::Result<()> {
    socket.connect(std::path::Path::new(OsStr::from_bytes(name.as_bytes())))
}

/// systemd puts device and inode of its stream into JOURNAL_STREAM. A redirection changes them.
pub fn journal_reads_us() -> bool {
    let told = std::env::var("JOURNAL_STREAM").ok();
    let own = std::fs::metadata("/dev/fd/2").map(|found| format!("{}:{}", found.dev(), found.ino()));
    told.is_some() && told == own.ok()
}
