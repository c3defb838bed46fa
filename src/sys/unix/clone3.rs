//! clone3 for a child with its own stack. The C library has no wrapper for it, so this is assembly,
//! for x86-64 and 64-bit ARM.

use std::ffi::{c_int, c_void};

/// `struct clone_args` of clone(2), up to Linux 5.7.
#[repr(C)]
#[derive(Debug, Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Parameters of the call.
pub(super) struct Clone3 {
    pub flags: c_int,
    /// The lowest address of the child's stack, and its size.
    pub stack: (*mut c_void, usize),
    pub cgroup: c_int,
    pub run: extern "C" fn(*mut c_void) -> c_int,
    pub shared: *mut c_void,
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl Clone3 {
    /// Returns the child's process ID, or a negative errno. The kernel writes to `pidfd`.
    ///
    /// # Safety
    /// As clone(2): `run` never returns, `stack` is its own, and with CLONE_VM everything that it
    /// uses outlives its use.
    pub(super) unsafe fn start(&self, pidfd: &mut c_int) -> i64 {
        const SIGNAL: u64 = libc::SIGCHLD.cast_unsigned() as u64;
        let arguments = CloneArguments {
            flags: u64::from(self.flags.cast_unsigned()) | CLONE_INTO_CGROUP,
            pidfd: (&raw mut *pidfd) as u64,
            exit_signal: SIGNAL,
            stack: self.stack.0 as u64,
            stack_size: self.stack.1 as u64,
            cgroup: u64::from(self.cgroup.cast_unsigned()),
            ..CloneArguments::default()
        };
        let size = size_of::<CloneArguments>();
        let result: i64;
        // SAFETY: the caller's promise. The child begins behind the system call with the registers
        // of the parent and its own stack, of which it uses nothing before the call.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "xor ebp, ebp",
                "mov rdi, {shared}",
                "call {run}",
                "ud2",
                "2:",
                run = in(reg) self.run,
                shared = in(reg) self.shared,
                inlateout("rax") libc::SYS_clone3 => result,
                in("rdi") &raw const arguments,
                in("rsi") size,
                out("rcx") _,
                out("r11") _,
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!(
                "svc 0",
                "cbnz x0, 2f",
                "mov x29, xzr",
                "mov x0, {shared}",
                "blr {run}",
                "brk 1",
                "2:",
                run = in(reg) self.run,
                shared = in(reg) self.shared,
                in("x8") libc::SYS_clone3,
                inlateout("x0") &raw const arguments => result,
                in("x1") size,
            );
        }
        result
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl Clone3 {
    /// Fails, so that the child enters its cgroup by writing.
    ///
    /// # Safety
    /// It does nothing.
    pub(super) unsafe fn start(&self, _pidfd: &mut c_int) -> i64 {
        -i64::from(libc::ENOSYS)
    }
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
