//! What is expected of each point: which faults are tried, and what need not work
//! while a call fails for ever.

use testkit::faults::{Fault, Seen};

use super::attempt::Expected;

/// The sample is the same in every run.
pub const SEED: u64 = 6;

/// Calls of one point that are tried by themselves. Bytes are moved by many calls of
/// one point, of which one is like another.
const MOST_CALLS: u32 = 5;

/// Not calls, but what tests count; and the child that stops itself, which only a limit of
/// half a minute ends (`tests/hung_starts.rs`).
const MARKS: [&str; 4] = ["accepted", "child:stops", "profile-loaded", "profile-unloaded"];

/// No program of any service can be started while these fail, or no client taken.
const ALL_NEED: &[&str] = &[
    "accept",
    "accept:handle",
    "accept:nonblocking",
    "bind",
    "child:directory",
    "child:exec",
    "child:limits",
    "child:session",
    "child:stdio",
    "clone",
    "exit-code",
    "fork-pipe",
    "job",
    "job:count",
    "job:limits",
    "keepalive",
    "listen",
    "null-open",
    "process",
    "process:attributes",
    "socket",
    "socket-option",
    "stack",
    "stdio:duplicate",
    "stdio:mode",
    "watch",
];

/// The control channel does not answer while these fail.
const CONTROL_NEEDS: &[&str] = &["control-accept", "control-listen", "control-open"];

/// A service answers as ever although these fail for ever.
const NOBODY_NEEDS: &[&str] = &[
    "ask",
    "bind:exclusive",
    "control-accept",
    "control-listen",
    "control-open",
    "drain",
    "job:list",
    "log-open",
    "log-write",
    "nodelay",
    "orphans",
    "orphans-open",
    "pidfd",
    "profile:denied",
    "profile:privilege",
    "reap",
    "shutdown",
    "so-linger",
    "thread:accounts",
    "thread:reload",
    "thread:world",
];

/// All faults of a run that was counted.
pub fn faults_of(seen: &Seen) -> Vec<Fault> {
    let points = seen.points().into_iter().filter(|(name, _)| !MARKS.contains(&name.as_str()));
    points
        .flat_map(|(point, count)| {
            (1..=count.min(MOST_CALLS)).flat_map(move |number| {
                let point = point.clone();
                [false, true].map(|for_ever| Fault { point: point.clone(), number, for_ever })
            })
        })
        .collect()
}

/// What is expected after this fault.
pub fn expected(fault: &Fault) -> Expected {
    let is_among = |points: &[&str]| points.contains(&fault.point.as_str());
    Expected {
        same: !fault.for_ever || is_among(NOBODY_NEEDS),
        other: !fault.for_ever || !is_among(ALL_NEED),
        control: !fault.for_ever || !is_among(CONTROL_NEEDS),
        // Only one call does it, and on no system does it fail while there is something to reap.
        reaped: fault.point != "reap",
        waits: fault.for_ever && is_among(&["accept"]),
    }
}
