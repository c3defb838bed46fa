//! Prepares the server's own process, and keeps its settings away from programs.

use std::io;
use std::sync::OnceLock;

use super::super::fault::{self, Says};
use super::check;

/// The limit at our start, which programs get back.
static ORIGINAL_NOFILE: OnceLock<libc::rlimit> = OnceLock::new();

pub fn prepare() -> io::Result<()> {
    close_on_exec_from(3);
    settle_signals();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    fault::point("descriptor-limit", Says::Device)?;
    // SAFETY: the pointer is to a valid, writable rlimit for the duration of the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let _ = ORIGINAL_NOFILE.set(limit);
    // Needs no privilege. macOS reports "infinity" but means 10240.
    for ceiling in [limit.rlim_max, 10_240] {
        let wanted = libc::rlimit { rlim_cur: ceiling.min(limit.rlim_max), rlim_max: limit.rlim_max };
        // SAFETY: the pointer is to a valid rlimit for the duration of the call.
        let raised = || unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } == 0;
        if wanted.rlim_cur < limit.rlim_cur || raised() {
            break;
        }
    }
    #[cfg(all(target_os = "linux", not(portable_unix)))]
    super::orphans::adopt();
    Ok(())
}

pub fn enable_colors() -> bool {
    std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// Undoes inherited settings: with SIGCHLD ignored the server could not learn how programs end, and
/// with signals blocked it could not be stopped. Ignores SIGXFSZ: at the limit `ulimit -f` a log
/// write then fails instead.
fn settle_signals() {
    // SAFETY: zeroes are the default action; the set is valid and empty. No other thread exists.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
        action.sa_sigaction = libc::SIG_IGN;
        libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut());
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

pub(super) fn original_descriptor_limit() -> Option<libc::rlimit> {
    ORIGINAL_NOFILE.get().copied()
}

pub fn descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a valid, writable rlimit for the duration of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 256;
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

pub const NEEDED_BY_PROGRAMS: &[&str] = &[];

/// Rights of the program file (setuid, setgid or capabilities) that our starter lacks. AT_SECURE
/// proves nothing: SELinux sets it too.
pub fn borrowed_rights() -> io::Result<Option<String>> {
    let file = std::env::current_exe()?;
    let file = file.display();
    // SAFETY: no preconditions.
    let (uid, euid, gid, egid) =
        unsafe { (libc::getuid(), libc::geteuid(), libc::getgid(), libc::getegid()) };
    if (uid, gid) != (euid, egid) {
        return Ok(Some(format!(
            "this process has the real user id {uid} and the effective user id {euid}, the real group id {gid} \
             and the effective group id {egid}. Any user who may execute {file} would get these rights\n    \
             hint: remove the setuid and setgid bits: chmod u-s,g-s {file}; then start the server as root"
        )));
    }
    if uid == 0 {
        return Ok(None);
    }
    let borrowed = capabilities_of_file()?;
    Ok((borrowed != 0).then(|| {
        format!(
            "this process has the user id {uid} and capabilities of its file (mask {borrowed:#x}). \
             Any user who may execute {file} could start programs as root\n    \
             hint: remove them: setcap -r {file}; then start the server as root, or by a service manager \
             that gives it ambient capabilities (systemd: AmbientCapabilities=)"
        )
    }))
}

/// Permitted capabilities that are not ambient. Except for root, only a file gives them.
#[cfg(target_os = "linux")]
fn capabilities_of_file() -> io::Result<u64> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    // Effective, permitted, inheritable; then the same for capabilities from 32 on.
    let mut sets = [0u32; 6];
    // SAFETY: the header and the sets have the layout of version 3.
    if unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let permitted = u64::from(sets[1]) | u64::from(sets[4]) << 32;
    let is_ambient = |capability: &u32| {
        let of = libc::c_ulong::from(*capability);
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET, of, 0, 0) == 1 }
    };
    let ambient = (0..u64::BITS).filter(|&capability| permitted >> capability & 1 == 1).filter(is_ambient);
    Ok(ambient.fold(permitted, |rest, capability| rest & !(1 << capability)))
}

#[cfg(not(target_os = "linux"))]
fn capabilities_of_file() -> io::Result<u64> {
    Ok(0)
}

/// Whether this process runs as root.
pub fn is_privileged() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// The rights of a program without an account, if they are too many for a client.
pub fn dangerous_own_identity() -> Option<&'static str> {
    is_privileged().then_some(super::CAPABILITIES.all_rights)
}

/// For descriptors that our starter left open. Ours are opened this way.
fn close_on_exec_from(first: libc::c_uint) {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: close_range with CLOSE_RANGE_CLOEXEC changes descriptor flags only.
        if unsafe {
            libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
        } == 0
        {
            return;
        }
    }
    let last = libc::c_int::try_from(descriptor_limit().min(65_536)).unwrap_or(65_536);
    for descriptor in libc::c_int::try_from(first).unwrap_or(3)..last {
        // SAFETY: F_GETFD and F_SETFD touch descriptor flags only; a closed descriptor gives EBADF.
        unsafe {
            let flags = libc::fcntl(descriptor, libc::F_GETFD);
            if flags >= 0 {
                libc::fcntl(descriptor, libc::F_SETFD, flags | libc::FD_CLOEXEC);
            }
        }
    }
}

/// Why sockets cannot be standard streams: always `None` on Unix.
pub fn stdio_fault() -> Option<String> {
    None
}
