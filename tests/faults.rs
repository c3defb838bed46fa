//! Under faults: every scenario is run once to count the calls that may fail, and
//! then with each of them failing once and failing for ever. Afterwards the same
//! promises hold, whichever it was (`faults/promises.rs`).
//!
//! A sample of them runs always. `WININETD_FAULTS=all` runs all, and another text
//! those that have it in their name, such as `pipes clone:1` or `tls`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking
#![allow(clippy::print_stdout)] // how many there were is wanted

mod faults {
    pub mod attempt;
    pub mod points;
    pub mod promises;
    pub mod scenarios;
    #[cfg(target_os = "linux")]
    pub mod traced;
}
#[path = "simulation/random.rs"]
#[allow(dead_code)] // not all of it is wanted here
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use faults::attempt::Attempt;
use faults::points::{SEED, faults_of};
use faults::promises::{Baseline, keeps};
use faults::scenarios::{Scenario, all};
use random::Random;

/// Runs at once: most of one is waiting.
const TOGETHER: usize = if cfg!(windows) { 2 } else { 4 };
/// Faults of the sample. Under Wine everything takes ten times as long.
const SAMPLE: usize = if cfg!(windows) { 20 } else { 100 };

/// One scenario with one fault.
struct Run<'a> {
    scenario: &'a Scenario,
    baseline: &'a Baseline,
    attempt: Attempt,
}

impl Run<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.scenario.name, self.attempt)
    }
}

/// Does all of these, several at once, and tells what went wrong with each.
fn together<T: Sync, R: Send>(work: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<std::thread::Result<R>> {
    let next = Mutex::new(0..work.len());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER.min(work.len()) {
            scope.spawn(|| {
                loop {
                    let Some(place) = next.lock().unwrap().next() else { return };
                    let result = catch_unwind(AssertUnwindSafe(|| run(&work[place])));
                    results.lock().unwrap().push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// The runs that are wanted.
fn chosen(mut runs: Vec<Run<'_>>) -> Vec<Run<'_>> {
    match std::env::var("WININETD_FAULTS").ok().as_deref() {
        Some("all") => runs,
        Some(part) => {
            runs.retain(|run| run.name().contains(part));
            runs
        }
        None => {
            let mut random = Random::new(SEED);
            while runs.len() > SAMPLE {
                let place = random.below(runs.len());
                runs.swap_remove(place);
            }
            runs
        }
    }
}

/// Every scenario without a fault: what it holds and which calls it makes.
fn count(scenarios: &[Scenario]) -> Vec<Baseline> {
    let counted = together(scenarios, |scenario| keeps(scenario, &Attempt::None, None).0);
    let each = scenarios.iter().zip(counted);
    each.map(|(scenario, counted)| {
        counted.unwrap_or_else(|panic| panic!("{} without a fault: {}", scenario.name, words(&*panic)))
    })
    .collect()
}

/// Runs all of these and says of all what broke.
fn hold(runs: &[Run<'_>]) {
    let results = together(runs, |run| keeps(run.scenario, &run.attempt, Some(run.baseline)).1);
    let (mut injected, mut unreached, mut broken) = (0, Vec::new(), Vec::new());
    for (run, result) in runs.iter().zip(results) {
        match result {
            Ok(0) => unreached.push(run.name()),
            Ok(failed) => injected += failed,
            Err(panic) => broken.push(format!("{}: {}", run.name(), words(&*panic))),
        }
    }
    println!(
        "{} runs, {injected} calls failed, {} runs never came to their call",
        runs.len(),
        unreached.len()
    );
    if !unreached.is_empty() {
        println!("never came: {unreached:?}");
    }
    let (count, all) = (broken.len(), runs.len());
    assert!(broken.is_empty(), "{count} of {all} runs broke a promise:\n{}", broken.join("\n\n"));
}

#[test]
fn whatever_call_fails_once_or_for_ever_the_promises_hold() {
    let scenarios = all();
    let baselines = count(&scenarios);
    let mut runs = Vec::new();
    for (scenario, baseline) in scenarios.iter().zip(&baselines) {
        let attempts = faults_of(&baseline.seen).into_iter().map(Attempt::Point);
        runs.extend(attempts.map(|attempt| Run { scenario, baseline, attempt }));
    }
    println!("{} scenarios, {} faults", scenarios.len(), runs.len());
    hold(&chosen(runs));
}

/// strace counts the calls of each thread by itself, so that not every fault comes to
/// its call.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs strace and target/release/wininetd, and takes long"]
fn the_shipped_program_keeps_them_where_strace_changes_what_the_kernel_says() {
    let scenarios = all();
    let baselines = count(&scenarios);
    let mut runs = Vec::new();
    for (scenario, baseline) in scenarios.iter().zip(&baselines) {
        let attempts = faults::traced::all().into_iter();
        runs.extend(attempts.map(|attempt| Run { scenario, baseline, attempt }));
    }
    println!("{} scenarios, {} faults", scenarios.len(), runs.len());
    hold(&chosen(runs));
}
