//! Telling systemd how far we are (sd_notify), by datagrams to the socket that
//! NOTIFY_SOCKET names, and whether the journal reads our standard error.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

/// A service manager that wants to hear.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
}

impl NotifySocket {
    /// The one that started us, if there is one.
    pub fn of_environment() -> Option<NotifySocket> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        NotifySocket::to(&name).ok()
    }

    fn to(name: &OsStr) -> io::Result<NotifySocket> {
        let socket = UnixDatagram::unbound()?;
        connect(&socket, name)?;
        // One that is slow is waited for, since it would end us for want of the
        // word; one that does not read must not stop us.
        socket.set_write_timeout(Some(std::time::Duration::from_secs(2)))?;
        Ok(NotifySocket { socket })
    }

    /// Says something; a manager that does not take it misses it.
    pub fn say(&self, words: &str) {
        let _ = self.socket.send(words.as_bytes());
    }
}

/// A name that begins with `@` is in the kernel's own space of names.
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

/// Whether systemd's journal reads our standard error: it says so by the
/// device and inode of the stream that it made, which a redirection changes.
pub fn journal_reads_us() -> bool {
    let told = std::env::var("JOURNAL_STREAM").ok();
    let own = std::fs::metadata("/dev/fd/2").map(|found| format!("{}:{}", found.dev(), found.ino()));
    told.is_some() && told == own.ok()
}
