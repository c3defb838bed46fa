//! The resources that a process holds: descriptors or handles, children, memory and processor time.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// On Linux without those of free cgroups, of which the server keeps some for the next starts.
    pub handles: usize,
    /// Child processes, including zombies. Always 0 on Windows, where their handles count.
    pub children: usize,
    /// Resident memory on Linux, committed memory on Windows.
    pub kibibytes: usize,
}

impl Held {
    pub fn by(pid: u32) -> Held {
        imp::held(pid)
    }
}

/// The user and kernel time that a process has used so far.
pub fn processor_time(pid: u32) -> std::time::Duration {
    imp::processor_time(pid)
}

/// The stopped processes among the children and grandchildren of a process.
#[cfg(unix)]
pub fn stopped_children(pid: u32) -> Vec<u32> {
    let runners = imp::children(pid).into_iter();
    let below = runners.flat_map(|runner| imp::children_in_state(runner, 'T'));
    imp::children_in_state(pid, 'T').into_iter().chain(below).collect()
}

pub fn zombies(pid: u32) -> usize {
    imp::zombies(pid)
}

#[cfg(unix)]
mod imp {
    use std::time::Duration;

    use super::Held;

    pub fn processor_time(pid: u32) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a live process");
        // The name in parentheses may contain anything. After it come the state, …, utime, stime.
        let rest = stat.rsplit_once(") ").expect("its figures").1;
        let ticks = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
        // SAFETY: sysconf takes no pointers.
        let in_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_millis(ticks.sum::<u64>() * 1000 / in_second.unsigned_abs())
    }

    /// Joins the lists of children of all threads. A process that is gone has no children.
    pub fn children(pid: u32) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        let lists = tasks
            .filter_map(Result::ok)
            .map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
        lists
            .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    pub fn children_in_state(pid: u32, state: char) -> Vec<u32> {
        let is_in_state = |child: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state))
        };
        children(pid).into_iter().filter(is_in_state).collect()
    }

    pub fn zombies(pid: u32) -> usize {
        children_in_state(pid, 'Z').len()
    }

    pub fn held(pid: u32) -> Held {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a live process").flatten();
        let is_cgroup = |entry: &std::fs::DirEntry| {
            std::fs::read_link(entry.path()).is_ok_and(|link| {
                link.starts_with("/sys/fs/cgroup") && link.to_string_lossy().contains("/wininetd-")
            })
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        Held {
            handles: open.filter(|entry| !is_cgroup(entry)).count(),
            children: children(pid).len(),
            kibibytes: memory.trim().trim_end_matches(" kB").parse().expect("a number"),
        }
    }
}

#[cfg(windows)]
mod imp {
    use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

    use windows_sys::Wdk::System::SystemInformation::NtQuerySystemInformation;
    use windows_sys::Win32::System::ProcessStatus::{GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
    use windows_sys::Win32::System::Threading::{
        GetProcessTimes, OpenProcess, PROCESS_QUERY_INFORMATION, PROCESS_VM_READ,
    };

    use super::Held;

    pub fn processor_time(pid: u32) -> std::time::Duration {
        let mut times = [0u64; 4];
        // SAFETY: the handle is new and owned here. A FILETIME has 64 bits, and a u64 is aligned at
        // least as strictly.
        unsafe {
            let handle = OpenProcess(PROCESS_QUERY_INFORMATION, 0, pid);
            assert!(!handle.is_null(), "a live process");
            let process = OwnedHandle::from_raw_handle(handle);
            let [created, ended, kernel, user] = &mut times;
            let [created, ended, kernel, user] =
                [created, ended, kernel, user].map(|time| std::ptr::from_mut(time).cast());
            assert!(GetProcessTimes(process.as_raw_handle(), created, ended, kernel, user) != 0);
        }
        std::time::Duration::from_nanos((times[2] + times[3]) * 100)
    }

    /// Windows has no zombies. An exited process that is still referenced counts as a handle.
    pub fn zombies(_: u32) -> usize {
        0
    }

    pub fn held(pid: u32) -> Held {
        // SAFETY: the handle is new and owned here. Zeroes are a valid structure, and the size is
        // that of the structure.
        let memory = unsafe {
            let handle = OpenProcess(PROCESS_QUERY_INFORMATION | PROCESS_VM_READ, 0, pid);
            assert!(!handle.is_null(), "a live process");
            let process = OwnedHandle::from_raw_handle(handle);
            let mut memory: PROCESS_MEMORY_COUNTERS = std::mem::zeroed();
            let size = u32::try_from(size_of::<PROCESS_MEMORY_COUNTERS>()).expect("a size");
            assert!(GetProcessMemoryInfo(process.as_raw_handle(), &raw mut memory, size) != 0);
            memory
        };
        Held { handles: handles_of(pid), children: 0, kibibytes: memory.PagefileUsage / 1024 }
    }

    /// Counts in the list of all handles of the system, because Wine does not answer
    /// GetProcessHandleCount.
    fn handles_of(pid: u32) -> usize {
        const SYSTEM_EXTENDED_HANDLE_INFORMATION: i32 = 64;
        const WORDS_OF_ENTRY: usize = 5;
        let mut list = vec![0usize; 1 << 18];
        let bytes = u32::try_from(list.len() * size_of::<usize>()).expect("a size");
        // SAFETY: the buffer is as long as the call says.
        let status = unsafe {
            NtQuerySystemInformation(
                SYSTEM_EXTENDED_HANDLE_INFORMATION,
                list.as_mut_ptr().cast(),
                bytes,
                std::ptr::null_mut(),
            )
        };
        assert!(status >= 0, "the list of handles: {status:#x}");
        // The list begins with a count and a reserved word. Each entry has: object, process,
        // handle, …
        let entries = list[2..].chunks_exact(WORDS_OF_ENTRY).take(list[0]);
        entries.filter(|entry| entry[1] == pid as usize).count()
    }
}
