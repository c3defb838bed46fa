//! A client of a `unix:` address passes descriptors to a program only if the service allows it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testkit::{Builder, Daemon};

const SO_PASSRIGHTS: libc::c_int = 83;

/// Since Linux 6.16 a socket can refuse descriptors.
fn kernel_can_refuse() -> bool {
    let (socket, _other) = UnixStream::pair().unwrap();
    let refused: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of_val(&refused)).unwrap();
    // SAFETY: the pointer is to a value of the given length.
    unsafe {
        let value = (&raw const refused).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, value, length) == 0
    }
}

fn serve(command: &str, keys: &str) -> (tempfile::TempDir, PathBuf, Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let text = format!(
        "[service.a]\nlisten = 'unix:{}'\ncommand = ['@', '{command}']\nstdio = 'socket'\n{keys}",
        path.display()
    );
    let daemon = Builder::native(&text).start();
    (folder, path, daemon)
}

/// Sends one byte and this descriptor.
fn pass(to: &UnixStream, descriptor: RawFd) -> io::Result<()> {
    let (mut byte, mut control) = ([b'x'], [0u64; 8]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let size = u32::try_from(size_of::<RawFd>()).unwrap();
    // SAFETY: the message refers to live buffers, and the control buffer has space for a descriptor.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor);
        libc::sendmsg(to.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn connect(path: &Path) -> UnixStream {
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(testkit::LIMIT)).unwrap();
    client
}

#[test]
fn client_cannot_pass_descriptors() {
    if !kernel_can_refuse() {
        return;
    }
    let (_folder, path, _daemon) = serve("takes-descriptor", "");
    let client = connect(&path);
    assert_eq!(pass(&client, 0).unwrap_err().raw_os_error(), Some(libc::EPERM));
}

#[test]
fn program_takes_descriptors_if_its_service_says_so() {
    let (_folder, path, _daemon) = serve("takes-descriptor", "pass_descriptors = true\n");
    let mut client = connect(&path);
    pass(&client, 0).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "taken");
}

fn signal(daemon: &Daemon, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(daemon.pid()).unwrap();
    // SAFETY: no pointers. The test has started this process.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// A connection with unsent bytes, whose last close waits for SO_LINGER.
fn lingering() -> (socket2::Socket, std::net::TcpListener) {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.connect(&deaf.local_addr().unwrap().into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.send(&[0; 1 << 16]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    socket.set_linger(Some(Duration::from_secs(7))).unwrap();
    (socket, deaf)
}

#[test]
fn socket_that_a_refused_client_passes_delays_no_answer() {
    if !kernel_can_refuse() {
        return;
    }
    let keys = "max_connections = 1\nwhen_full = 'refuse'\nrefusal = 'busy'\n";
    let (_folder, path, daemon) = serve("line", keys);
    let served = connect(&path);
    let mut refused = connect(&path);
    // Now the server reads what the client still sends, and closes what it passes.
    refused.read_exact(&mut [0; 4]).unwrap();
    let (socket, _deaf) = lingering();
    // While the server stands still, this process closes its own copy.
    signal(&daemon, libc::SIGSTOP);
    if pass(&refused, socket.as_raw_fd()).is_err() {
        socket.set_linger(None).unwrap();
    }
    drop(socket);
    signal(&daemon, libc::SIGCONT);
    let began = Instant::now();
    daemon.status();
    drop(served);
    assert_eq!(daemon.stop().code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
