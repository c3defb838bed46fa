//! The faults to try at each point, and what need not work while a call fails permanently.

use testkit::faults::{Fault, Seen};

use super::attempt::Expected;

/// Fixed, so that every run has the same sample.
pub const SEED: u64 = 6;

/// Calls of one point that are tried separately. Moving bytes takes many calls of one point that
/// are all alike.
const MOST_CALLS: u32 = 5;

/// Points that mark progress and are no calls. `child:stops` has its own tests
/// (`tests/hung_starts.rs`), because only a limit of half a minute ends it.
const MARKS: [&str; 4] = ["accepted", "child:stops", "profile-loaded", "profile-unloaded"];

/// While these fail, the server cannot start any program or cannot accept any client.
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

/// While these fail, the control channel does not answer.
const CONTROL_NEEDS: &[&str] = &["control-accept", "control-listen", "control-open"];

/// A service answers normally while these fail permanently.
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

pub fn expected(fault: &Fault) -> Expected {
    let is_among = |points: &[&str]| points.contains(&fault.point.as_str());
    Expected {
        same: !fault.for_ever || is_among(NOBODY_NEEDS),
        other: !fault.for_ever || !is_among(ALL_NEED),
        control: !fault.for_ever || !is_among(CONTROL_NEEDS),
        // The server has no other call to reap with. No system lets it fail while there is a child
        // to reap.
        reaped: fault.point != "reap",
        waits: fault.for_ever && is_among(&["accept"]),
    }
}
