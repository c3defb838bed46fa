//! The decisions of `core` keep every promise in simulated time. Random histories contain arrivals,
//! ends, failures, reloads, stops and clock jumps. After every step an independent count checks the
//! promises.
//!
//! `WININETD_SEED=N` repeats a history. `WININETD_HISTORIES=N` sets the number of histories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)] // a test fails by panicking

#[path = "simulation/mod.rs"]
mod simulation;

use simulation::random::Random;
use simulation::sums::Sums;

/// The number in an ordinary test run. CI runs many more.
const HISTORIES: u64 = 2_000;
const STEPS: usize = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn history(seed: u64) -> Sums {
    let run = std::panic::catch_unwind(|| simulation::history(Random::new(seed), STEPS));
    run.unwrap_or_else(|_| panic!("a promise is broken; WININETD_SEED={seed} repeats it"))
}

#[test]
fn all_promises_hold_after_every_step_of_every_history() {
    let given = number("WININETD_SEED");
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = given.unwrap_or(since_epoch.as_secs() << 20);
    let histories = if given.is_some() { 1 } else { number("WININETD_HISTORIES").unwrap_or(HISTORIES) };
    println!("{histories} histories from WININETD_SEED={first}");
    let mut sums = Sums::default();
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runs = (0..threads).map(|thread| {
            let thread = thread as u64;
            scope.spawn(move || {
                (first + thread..first + histories).step_by(threads).map(history).collect::<Vec<_>>()
            })
        });
        for found in
            runs.collect::<Vec<_>>().into_iter().flat_map(|run| run.join().expect("promises that hold"))
        {
            sums.add(&found);
        }
    });
    println!("{sums:?}");
    if histories >= HISTORIES {
        assert!(sums.each_happened(), "{sums:?}");
    }
}
