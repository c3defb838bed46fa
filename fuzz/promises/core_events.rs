//! All promises of the decisions hold after every step of every history, whatever
//! happens in it: the bytes say what. The simulation of the tests, with another
//! author than chance.

#[path = "../../tests/simulation/mod.rs"]
mod simulation;

use simulation::history;
use simulation::random::Random;

/// Histories are cut after so many steps: each looks at everything.
const MOST_STEPS: usize = 400;

/// Panics where the promise is broken.
pub fn check(bytes: &[u8]) {
    history(Random::of(bytes), MOST_STEPS);
}
