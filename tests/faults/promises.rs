//! The promises that hold after any fault.

use std::time::{Duration, Instant};

use testkit::faults::Seen;
use testkit::{Daemon, Finished, Held, processor_time};

use super::attempt::{Attempt, Expected};
use super::scenarios::{PATIENCE, Scenario, World};

/// The idle resources and the passes of a run without a fault.
#[derive(Debug)]
pub struct Baseline {
    pub held: Held,
    pub seen: Seen,
}

/// Requests to the service while the fault is active.
const QUESTIONS: usize = 3;
/// An idle server uses less than this share of a processor.
const IDLE: f64 = 0.06;
/// The exit codes of a failed start, from `src/model/exit_code.rs`.
const FAILED_STARTS: [i32; 5] = [66, 69, 71, 77, 78];
/// Handles that may differ between two runs, because Windows keeps threads and caches of its own.
const SLACK: usize = if cfg!(windows) { 4 } else { 0 };

/// Runs a scenario with a fault and checks every promise. Returns the held resources, the passes
/// and the number of failed calls.
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
    // The portable build cannot find descendants in a process group of their own.
    let finds_all = !cfg!(portable_unix);
    assert!(!finds_all || until(|| left().is_empty()), "programs are left, {:?}:\n{text}", left());
    if scenario.identity {
        runs_only_as_told(&world, &finished);
    }
    let failed = read.failed();
    (Baseline { held, seen: read }, failed)
}

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

/// Checks that a failed start reports an error and exits with a code for failed starts.
fn ended_well(finished: &Finished, attempt: &Attempt) {
    let text = &finished.errors;
    assert!(!matches!(attempt, Attempt::None), "the start failed:\n{text}");
    // The dynamic loader itself failed.
    if finished.code == Some(127) && text.contains("while loading shared libraries") {
        return;
    }
    assert!(finished.code.is_some_and(|code| FAILED_STARTS.contains(&code)), "{:?}:\n{text}", finished.code);
    assert!(!panicked(text) && text.contains("error"), "a start that failed:\n{text}");
}

/// Whether the server panicked. A program may panic when it loses its client; its lines are
/// `stderr` events.
fn panicked(text: &str) -> bool {
    text.lines().any(|line| line.contains("panicked") && !line.contains(r#""event":"stderr""#))
}

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

fn comes_to_rest(daemon: &Daemon, expected: Expected, baseline: Option<&Baseline>) -> Held {
    let rests = |held: &Held| match baseline {
        Some(baseline) => {
            let (handles, children) = (baseline.held.handles + SLACK, baseline.held.children);
            held.handles <= handles && (held.children <= children || !expected.reaped)
        }
        // Without a baseline, takes the values that stay the same for a while.
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

/// Checks for an idle server: one that spins or polls is never idle. On a busy machine, work for
/// earlier clients may take some time.
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

fn all_have_records(finished: &Finished, seen: &Seen) {
    let records = finished.events("session").len() as u64;
    let counted: u64 = finished.events("refusals").iter().filter_map(|event| event["count"].as_u64()).sum();
    let accepted = u64::from(seen.count("accepted"));
    assert_eq!(records + counted, accepted, "records and counts, beside accepts:\n{}", finished.errors);
}

/// Only programs with a record that says they ran as the account came to the gate.
fn runs_only_as_told(world: &World, finished: &Finished) {
    let visitors = world.gate.visitors_so_far().len();
    let records = finished.events("session");
    let served = records.iter().filter(|record| record["service"] == "a" && record["pid"].is_u64()).count();
    assert!(visitors <= served, "{visitors} programs ran, {served} were started:\n{}", finished.errors);
}
