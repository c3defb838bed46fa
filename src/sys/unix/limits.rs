//! Limits of a program. The kernel keeps most per process; a cgroup limits the process count.

use std::time::Duration;

use super::process;
use crate::model::limits::Limits;

pub use super::cgroup::processes_fault;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) type Resource = libc::c_int;

pub(super) type ProcessLimit = (Resource, libc::rlimit);

/// Sets hard limits too, so that only root can raise them.
pub(super) fn of_process(limits: &Limits) -> Vec<ProcessLimit> {
    let mut found = Vec::new();
    if let Some(bytes) = limits.memory {
        found.push(at_most(libc::RLIMIT_DATA, bytes, bytes));
    }
    if let Some(time) = limits.cpu_time {
        let seconds = whole_seconds(time);
        // First SIGXCPU, which a program may handle; a second later SIGKILL.
        found.push(at_most(libc::RLIMIT_CPU, seconds, seconds.saturating_add(1)));
    }
    match limits.open_files {
        Some(count) => found.push(at_most(libc::RLIMIT_NOFILE, count, count)),
        // The server has raised its own limit; programs get the original.
        None => {
            found.extend(process::original_descriptor_limit().map(|limit| (libc::RLIMIT_NOFILE, limit)));
        }
    }
    found
}

/// The server's own hard limit is the upper bound.
fn at_most(resource: Resource, soft: u64, hard: u64) -> ProcessLimit {
    let mut own = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is valid for the call. If it fails, the values stay infinite.
    unsafe { libc::getrlimit(resource, &raw mut own) };
    let bounded = |value: u64| libc::rlim_t::try_from(value).unwrap_or(own.rlim_max).min(own.rlim_max);
    (resource, libc::rlimit { rlim_cur: bounded(soft), rlim_max: bounded(hard) })
}

/// Rounds up. At least 1, because the kernel treats 0 as 1.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_rounded_up_to_whole_seconds() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([0, 1, 1000, 1001, 60_000].map(seconds), [1, 1, 1, 2, 60]);
    }

    #[test]
    fn a_limit_never_gives_more_than_we_have() {
        let (_, limit) = at_most(libc::RLIMIT_NOFILE, u64::MAX, u64::MAX);
        let mut own = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is valid for the call.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut own) };
        assert_eq!((limit.rlim_cur, limit.rlim_max), (own.rlim_max, own.rlim_max));
    }

    #[test]
    fn without_limits_a_program_has_none_of_ours() {
        let resources: Vec<_> = of_process(&Limits::default()).into_iter().map(|(name, _)| name).collect();
        assert!(resources.iter().all(|&name| name == libc::RLIMIT_NOFILE), "{resources:?}");
    }
}
