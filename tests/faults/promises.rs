//! What holds after any fault, in one place.

use std::time::{Duration, Instant};

use testkit::faults::Seen;
use testkit::{Daemon, Finished, Held, processor_time};

use super::attempt::{Attempt, Expected};
use super::scenarios::{PATIENCE, Scenario, World};

/// What a run without a fault holds when it has nothing to do, and what it passed.
#[derive(Debug)]
pub struct Baseline {
    /// Descriptors, children.
    pub held: Held,
    /// The calls.
    pub seen: Seen,
}

/// Questions that are asked while the fault happens.
const QUESTIONS: usize = 3;
/// A server that has nothing to do uses less than this part of a processor.
const IDLE: f64 = 0.06;
/// The exit codes of a start that failed, as `src/model/exit_code.rs` has them.
const FAILED_STARTS: [i32; 5] = [66, 69, 71, 77, 78];
/// What may differ between two runs of a system that has threads and caches of its own.
const SLACK: usize = if cfg!(windows) { 4 } else { 0 };

/// Runs a scenario with a fault and looks at everything. What was held and passed, and
/// how many calls failed.
pub fn keeps(scenario: &Scenario, attempt: &Attempt, baseline: Option<&Baseline>) -> (Baseline, usize) {
    let expected = attempt.expected();
    let world = World::new(expected);
    let seen = world.shared.path().join("points.seen");
    let builder = attempt.of(world.builder(scenario), &seen);
    let daemon = builder.with_own_logon().launch();
    if !starts(&daemon) {
        ended_well(&daemon.finish(), attempt);
        let read = attempt.seen(&seen);
        let failed = read.failed();
        return (Baseline { held: Held { handles: 0, children: 0, kibibytes: 0 }, seen: read }, failed);
    }
    for _ in 0..QUESTIONS {
        (scenario.asks)(&world);
    }
    (scenario.besides)(&world, &daemon);
    if expected.same {
        in_time(&daemon, "the service answers again", || (scenario.asks)(&world));
    }
    if expected.other {
        in_time(&daemon, "the other service answers", || world.other_answers());
    }
    if expected.control {
        in_time(&daemon, "the control channel answers", || {
            daemon
                .try_ask(br#"{"version":1,"request":"status"}"#, PATIENCE)
                .is_some_and(|text| text.contains("uptime"))
        });
    }
    let held = comes_to_rest(&daemon, expected, baseline);
    is_idle(&daemon);
    assert!(!daemon.has_ended(), "the server has ended:\n{}", daemon.text());
    let began = Instant::now();
    let finished = daemon.stop();
    assert_eq!(finished.code, Some(0), "a stop:\n{}", finished.errors);
    assert!(began.elapsed() < PATIENCE, "a stop took {:?}", began.elapsed());
    let read = attempt.seen(&seen);
    all_have_records(&finished, &read);
    let text = &finished.errors;
    assert!(!panicked(text), "a panic:\n{text}");
    let left = || testkit::faults::marked(&world.mark());
    // (A system that can't find them all leaves those of a group of their own.)
    let finds_all = !cfg!(portable_unix);
    assert!(!finds_all || until(|| left().is_empty()), "programs are left, {:?}:\n{text}", left());
    if scenario.identity {
        runs_only_as_told(&world, &finished);
    }
    let failed = read.failed();
    (Baseline { held, seen: read }, failed)
}

/// True once it serves, false if it has ended.
fn starts(daemon: &Daemon) -> bool {
    let began = Instant::now();
    loop {
        if daemon.events().iter().any(|event| event["event"] == "ready") {
            return true;
        }
        if daemon.has_ended() {
            return false;
        }
        assert!(began.elapsed() < PATIENCE, "neither served nor ended:\n{}", daemon.text());
        daemon.wait_a_moment();
    }
}

/// A start that fails says why, and its exit code is one of those that mean that.
fn ended_well(finished: &Finished, attempt: &Attempt) {
    let text = &finished.errors;
    assert!(!matches!(attempt, Attempt::None), "the start failed:\n{text}");
    // The system could not even load it.
    if finished.code == Some(127) && text.contains("while loading shared libraries") {
        return;
    }
    assert!(finished.code.is_some_and(|code| FAILED_STARTS.contains(&code)), "{:?}:\n{text}", finished.code);
    assert!(!panicked(text) && text.contains("error"), "a start that failed:\n{text}");
}

/// Whether the server did; a program that loses its client may.
fn panicked(text: &str) -> bool {
    text.lines().any(|line| line.contains("panicked") && !line.contains(r#""event":"stderr""#))
}

/// Tries until it is so, or time is over.
fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if began.elapsed() >= PATIENCE {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn in_time(daemon: &Daemon, what: &str, is_so: impl FnMut() -> bool) {
    assert!(until(is_so), "{what}: not so\n{}", daemon.text());
}

/// What it held before it holds again, and no child is left unreaped.
fn comes_to_rest(daemon: &Daemon, expected: Expected, baseline: Option<&Baseline>) -> Held {
    let rests = |held: &Held| match baseline {
        Some(baseline) => {
            let (handles, children) = (baseline.held.handles + SLACK, baseline.held.children);
            held.handles <= handles && (held.children <= children || !expected.reaped)
        }
        // Nobody knows yet: what stays the same for a while.
        None => (0..10).all(|_| {
            daemon.wait_a_moment();
            Held { kibibytes: 0, ..Held::by(daemon.pid()) } == Held { kibibytes: 0, ..*held }
        }),
    };
    let reaped = || !expected.reaped || testkit::zombies(daemon.pid()) == 0;
    let mut held = Held::by(daemon.pid());
    let rested = until(|| {
        held = Held::by(daemon.pid());
        rests(&held) && reaped()
    });
    let zombies = testkit::zombies(daemon.pid());
    let files = testkit::faults::open_files(daemon.pid());
    assert!(
        rested,
        "{held:?}, {zombies} unreaped, where it was {:?}\n{files}\n{}",
        baseline.map(|baseline| baseline.held),
        daemon.text()
    );
    held
}

/// One that spins or polls is never idle; on a machine with other work, what its clients
/// left to do may last for a while.
fn is_idle(daemon: &Daemon) {
    let mut used = 0.0;
    let rested = until(|| {
        let (began, before) = (Instant::now(), processor_time(daemon.pid()));
        for _ in 0..5 {
            daemon.wait_a_moment();
        }
        used = (processor_time(daemon.pid()) - before).as_secs_f64() / began.elapsed().as_secs_f64();
        used < IDLE
    });
    assert!(rested, "{used} of a processor with nothing to do:\n{}", daemon.text());
}

/// Each accepted client has a record, or is among those that were counted together.
fn all_have_records(finished: &Finished, seen: &Seen) {
    let records = finished.events("session").len() as u64;
    let counted: u64 = finished.events("refusals").iter().filter_map(|event| event["count"].as_u64()).sum();
    let accepted = u64::from(seen.count("accepted"));
    assert_eq!(records + counted, accepted, "records and counts, beside accepts:\n{}", finished.errors);
}

/// Nobody came to the gate but those whose record says that they were served as the account.
fn runs_only_as_told(world: &World, finished: &Finished) {
    let visitors = world.gate.visitors_so_far().len();
    let records = finished.events("session");
    let served = records.iter().filter(|record| record["service"] == "a" && record["pid"].is_u64()).count();
    assert!(visitors <= served, "{visitors} programs ran, {served} were started:\n{}", finished.errors);
}
