//! Injected faults: a first run of every scenario counts the calls that can fail. Later runs let
//! each of these calls fail once, then always. After each fault the same promises hold
//! (`faults/promises.rs`).
//!
//! By default only a sample runs. `WININETD_FAULTS=all` runs all. Another value selects the runs
//! whose name contains it, such as `pipes clone:1` or `tls`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking
#![allow(clippy::print_stdout)] // prints the number of runs

mod faults {
    pub mod attempt;
    pub mod points;
    pub mod promises;
    pub mod scenarios;
    #[cfg(target_os = "linux")]
    pub mod traced;
}
#[path = "simulation/random.rs"]
#[allow(dead_code)] // this test uses only a part
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use faults::attempt::Attempt;
use faults::points::{SEED, faults_of};
use faults::promises::{Baseline, keeps};
use faults::scenarios::{Scenario, all};
use random::Random;

const TOGETHER: usize = if cfg!(windows) { 2 } else { 4 };
/// The size of the sample. Under Wine each run takes ten times as long.
const SAMPLE: usize = if cfg!(windows) { 20 } else { 100 };

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

/// Returns each result or panic in the order of the items.
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

fn count(scenarios: &[Scenario]) -> Vec<Baseline> {
    let counted = together(scenarios, |scenario| keeps(scenario, &Attempt::None, None).0);
    let each = scenarios.iter().zip(counted);
    each.map(|(scenario, counted)| {
        counted.unwrap_or_else(|panic| panic!("{} without a fault: {}", scenario.name, words(&*panic)))
    })
    .collect()
}

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
fn every_injected_fault_leaves_the_promises_intact() {
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

/// strace counts the calls of each thread separately, so some faults never reach their call.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs strace and target/release/wininetd, and takes long"]
fn release_binary_keeps_its_promises_under_strace_faults() {
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
