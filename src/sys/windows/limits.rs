//! Resource limits of a job, which cover the whole tree.

use std::time::Duration;

use windows_sys::Win32::System::JobObjects::{
    JOB_OBJECT_LIMIT_ACTIVE_PROCESS, JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION,
    JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_JOB_TIME, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
};

use crate::model::limits::Limits;

/// Why the limit `processes` cannot work. Always `None`: jobs support it.
pub fn processes_fault() -> Option<String> {
    None
}

/// The limits of a job. Every job also terminates with its last handle, and a crash in it
/// shows no dialog. Windows has no limit of open files.
pub(super) fn of_job(limits: &Limits) -> JOBOBJECT_EXTENDED_LIMIT_INFORMATION {
    // SAFETY: zeroes are valid and mean no limit.
    let mut found: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = unsafe { std::mem::zeroed() };
    let basic = &mut found.BasicLimitInformation;
    basic.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION;
    if let Some(most) = limits.processes {
        basic.LimitFlags |= JOB_OBJECT_LIMIT_ACTIVE_PROCESS;
        basic.ActiveProcessLimit = most;
    }
    if let Some(time) = limits.cpu_time {
        basic.LimitFlags |= JOB_OBJECT_LIMIT_JOB_TIME;
        basic.PerJobUserTimeLimit = ticks(time);
    }
    if let Some(bytes) = limits.memory {
        basic.LimitFlags |= JOB_OBJECT_LIMIT_JOB_MEMORY;
        found.JobMemoryLimit = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    found
}

/// Time in units of 100 ns, at least 1, because 0 allows no time at all.
fn ticks(time: Duration) -> i64 {
    i64::try_from(time.as_nanos() / 100).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_whole_job() {
        let limits = Limits {
            memory: Some(64 << 20),
            processes: Some(3),
            cpu_time: Some(Duration::from_millis(1500)),
            open_files: None,
        };
        let job = of_job(&limits);
        let basic = &job.BasicLimitInformation;
        assert_eq!((job.JobMemoryLimit, basic.ActiveProcessLimit), (64 << 20, 3));
        assert_eq!(basic.PerJobUserTimeLimit, 15_000_000);
        let more = JOB_OBJECT_LIMIT_ACTIVE_PROCESS | JOB_OBJECT_LIMIT_JOB_TIME | JOB_OBJECT_LIMIT_JOB_MEMORY;
        assert_eq!(basic.LimitFlags & more, more);
        assert_eq!(of_job(&Limits::default()).BasicLimitInformation.LimitFlags & more, 0);
    }
}
