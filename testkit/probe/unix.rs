//! What the probe finds on Unix.

use std::fmt::Write;
use std::os::fd::BorrowedFd;
#[cfg(all(target_os = "linux", not(portable_unix)))]
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

pub fn crash() {
    std::process::abort();
}

/// The open descriptors.
pub fn handles() -> String {
    let open = (0..65_536).filter(|&descriptor| {
        // SAFETY: asks for the flags of a descriptor, which need not exist.
        unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
    });
    open.map(|descriptor| descriptor.to_string()).collect::<Vec<_>>().join(" ")
}

pub fn close_input() {
    // SAFETY: nothing of the probe owns descriptor 0.
    unsafe { libc::close(0) };
}

/// A write that nobody can read ends it, as it ends programs in C.
pub fn default_broken_pipe() {
    // SAFETY: no handler is run.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

pub fn close_output() {
    // SAFETY: nothing of the probe owns descriptor 1.
    unsafe { libc::close(1) };
}

pub fn close_streams() {
    for descriptor in 0..3 {
        // SAFETY: nothing of the probe owns these.
        unsafe { libc::close(descriptor) };
    }
}

/// What may be done with each of the three streams.
pub fn directions() -> String {
    let words = [0, 1, 2].map(|descriptor| {
        // SAFETY: asks for the flags of a descriptor.
        match unsafe { libc::fcntl(descriptor, libc::F_GETFL) } & libc::O_ACCMODE {
            libc::O_RDONLY => "reads",
            libc::O_WRONLY => "writes",
            _ => "both",
        }
    });
    words.join(" ")
}

/// A process in a session of its own that keeps the three streams.
#[allow(clippy::zombie_processes)]
pub fn start_adrift_with_streams(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        command.pre_exec(|| if libc::setsid() < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
    }
    command.spawn().unwrap();
}

/// A process in a group of its own, as shells with job control make them,
/// where the server can find such.
#[allow(clippy::zombie_processes)] // the server is to find it, whatever the probe does
pub fn start_beside(command: &mut Command) -> std::io::Result<()> {
    let quiet = || Stdio::null();
    #[cfg(all(target_os = "linux", not(portable_unix)))]
    command.process_group(0);
    command.stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().map(drop)
}

/// What is started from then on ignores it as well.
pub fn ignore_polite_end() {
    // SAFETY: no handler is run.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

/// A process in a session of its own, which no server ends.
#[allow(clippy::zombie_processes)]
pub fn start_adrift(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        command.pre_exec(|| if libc::setsid() < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
    }
    let quiet = || Stdio::null();
    command.stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().unwrap();
}

/// Starts a process in a session of its own that traces this one. Returns once it does.
#[cfg(target_os = "linux")]
#[allow(clippy::zombie_processes)]
pub fn be_traced_by(command: &mut Command) {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    const ANY: libc::c_ulong = libc::c_ulong::MAX;
    // SAFETY: no pointers; setsid is async-signal-safe.
    unsafe {
        libc::prctl(libc::PR_SET_PTRACER, ANY, 0, 0, 0);
        command.pre_exec(|| if libc::setsid() < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
    }
    let mut tracer =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    tracer.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
}

#[cfg(target_os = "linux")]
pub fn trace(pid: libc::pid_t) {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE ignores the address and takes options as data.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) }, 0);
}

/// Reads one byte from standard input, and whether a descriptor came with it.
#[cfg(target_os = "linux")]
pub fn takes_descriptor() -> bool {
    let (mut byte, mut control) = ([0u8], [0u64; 8]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: the message refers to live buffers with their lengths.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        libc::recvmsg(0, &raw mut message, 0) == 1 && !libc::CMSG_FIRSTHDR(&raw const message).is_null()
    }
}

/// They end by themselves after a minute and a half, if nothing ends them.
#[cfg(target_os = "linux")]
pub fn start_sleepers(count: usize) {
    const SECONDS: libc::c_uint = 90;
    for _ in 0..count {
        // SAFETY: the child calls async-signal-safe functions only.
        unsafe {
            if libc::fork() == 0 {
                libc::setsid();
                for descriptor in 0..3 {
                    libc::close(descriptor);
                }
                libc::alarm(SECONDS);
                libc::pause();
                libc::_exit(0);
            }
        }
    }
}

/// Types these keys at its terminal, where the system lets it.
pub fn insert(keys: &str) {
    for key in keys.as_bytes() {
        // SAFETY: the pointer is to one valid byte.
        unsafe { libc::ioctl(0, libc::TIOCSTI as _, std::ptr::from_ref(key)) };
    }
}

/// The capabilities that Linux says this process has, and whose it is.
pub fn capabilities() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut found = String::new();
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let bits = status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim_start_matches(":\t");
        let _ = writeln!(found, "{name} {:x}", u64::from_str_radix(bits, 16).unwrap());
    }
    // SAFETY: no preconditions.
    let _ = writeln!(found, "uid {}", unsafe { libc::getuid() });
    found
}

/// Keeps a key of the name `kept` in the session keyring and reads it again; then looks
/// there for `sought`. A line each: what the key holds, or why it is not read.
#[cfg(target_os = "linux")]
pub fn keys(kept: &str, sought: &str) -> String {
    const SESSION: i32 = -3;
    let name = std::ffi::CString::new(kept).unwrap();
    // SAFETY: all strings end in NUL, and the length is that of the payload.
    let added = unsafe {
        libc::syscall(libc::SYS_add_key, c"user".as_ptr(), name.as_ptr(), name.as_ptr(), kept.len(), SESSION)
    };
    let kept = if added < 0 { std::io::Error::last_os_error().to_string() } else { key(kept) };
    format!("kept {kept}\nfound {}\n", key(sought))
}

/// What the key of this name in the session keyring holds.
#[cfg(target_os = "linux")]
fn key(name: &str) -> String {
    const SESSION: i32 = -3;
    const SEARCH: i32 = 10;
    const READ: i32 = 11;
    let name = std::ffi::CString::new(name).unwrap();
    let mut held = [0u8; 64];
    // SAFETY: all strings end in NUL, and the buffer is as long as is said.
    let length = unsafe {
        let key = libc::syscall(libc::SYS_keyctl, SEARCH, SESSION, c"user".as_ptr(), name.as_ptr(), 0);
        if key < 0 {
            return "nothing".to_owned();
        }
        libc::syscall(libc::SYS_keyctl, READ, key, held.as_mut_ptr(), held.len())
    };
    let length = usize::try_from(length).unwrap_or(0).min(held.len());
    String::from_utf8_lossy(&held[..length]).into_owned()
}

/// Only Linux has keyrings of sessions.
#[cfg(not(target_os = "linux"))]
pub fn keys(_: &str, _: &str) -> String {
    String::new()
}

/// Whether TCP_NODELAY is set on the standard input, which is a socket.
pub fn nodelay() -> bool {
    // SAFETY: descriptor 0 stays open for the life of the probe.
    let input = unsafe { BorrowedFd::borrow_raw(0) };
    socket2::SockRef::from(&input).tcp_nodelay().unwrap()
}

/// Ids, signals, limits and flags, a line each.
pub fn state() -> String {
    let mut state = String::new();
    // SAFETY: plain questions; the pointers are to values of the right types.
    unsafe {
        let mut groups = [0; 256];
        let count = libc::getgroups(256, groups.as_mut_ptr());
        let mut groups = groups[..usize::try_from(count).unwrap()].to_vec();
        groups.sort_unstable();
        let _ = writeln!(state, "uid {} {}", libc::getuid(), libc::geteuid());
        let _ = writeln!(state, "gid {} {}", libc::getgid(), libc::getegid());
        let _ = writeln!(state, "groups {groups:?}");
        let _ = writeln!(state, "back {}", libc::setuid(0) == 0 && libc::getuid() != 0);
        let _ = writeln!(state, "leader {}", libc::getsid(0) == libc::getpid());
        let mask = libc::umask(0);
        let _ = writeln!(state, "umask {mask:03o}");
        let _ = writeln!(state, "waits {}", libc::fcntl(0, libc::F_GETFL) & libc::O_NONBLOCK == 0);
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut blocked);
        let blocked: Vec<_> =
            (1..32).filter(|&signal| libc::sigismember(&raw const blocked, signal) == 1).collect();
        let _ = writeln!(state, "blocked {blocked:?}");
        let changed: Vec<_> = (1..32)
            .filter(|&signal| {
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, std::ptr::null(), &raw mut action);
                // Rust's own runtime, in this probe, ignores SIGPIPE and
                // handles the two that tell of a stack's end.
                action.sa_sigaction != libc::SIG_DFL
                    && ![libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS].contains(&signal)
            })
            .collect();
        let _ = writeln!(state, "changed {changed:?}");
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let _ = writeln!(state, "descriptors {}", limit.rlim_cur);
    }
    // SAFETY: descriptor 0 stays open for the life of the probe.
    let input = unsafe { BorrowedFd::borrow_raw(0) };
    let input = socket2::SockRef::from(&input);
    if input.keepalive().unwrap_or(false) {
        let seconds = |time: std::io::Result<std::time::Duration>| time.unwrap_or_default().as_secs();
        let (idle, interval) = (seconds(input.tcp_keepalive_time()), seconds(input.tcp_keepalive_interval()));
        let _ = writeln!(state, "keepalive {idle} {interval} {}", input.tcp_keepalive_retries().unwrap_or(0));
    }
    state
}

/// The last close of its connection waits for so long.
pub fn set_so_linger(time: std::time::Duration) {
    // SAFETY: descriptor 1 stays open for the life of the probe.
    let output = unsafe { BorrowedFd::borrow_raw(1) };
    socket2::SockRef::from(&output).set_linger(Some(time)).unwrap();
}

/// Writes until nothing more is taken at once.
pub fn fill_output() {
    let block = [b'x'; 65536];
    // SAFETY: the buffer is as long as is said; descriptor 1 is a socket.
    while unsafe { libc::send(1, block.as_ptr().cast(), block.len(), libc::MSG_DONTWAIT) } > 0 {}
}

/// From its return on another thread is in the midst of a write to the connection, whose
/// lock in the kernel it holds: it waits for a page that does not come.
#[cfg(target_os = "linux")]
pub fn lock_connection() {
    // Of linux/userfaultfd.h: what is asked of the kernel, in its form.
    const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
    const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
    const API: u64 = 0xaa;
    const MODE_MISSING: u64 = 1;
    const PAGE: usize = 4096;
    // SAFETY: the structures have the sizes that the requests name, and the mapping is
    // used by nothing but the write that waits for it.
    unsafe {
        let faults = i32::try_from(libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC)).unwrap();
        assert!(faults >= 0, "{}", std::io::Error::last_os_error());
        let mut api = [API, 0, 0];
        assert_eq!(libc::ioctl(faults, UFFDIO_API, api.as_mut_ptr()), 0);
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let page = libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        let page = page as usize;
        let mut register = [page as u64, PAGE as u64, MODE_MISSING, 0];
        assert_eq!(libc::ioctl(faults, UFFDIO_REGISTER, register.as_mut_ptr()), 0);
        std::thread::spawn(move || libc::send(1, page as *const libc::c_void, PAGE, 0));
        let mut fault = [0u8; 32];
        assert_eq!(libc::read(faults, fault.as_mut_ptr().cast(), fault.len()), 32);
    }
}
