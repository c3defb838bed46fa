//! A simulated world around the decisions of `core`, driven by a seed or by bytes.

pub mod administrator;
pub mod promises;
pub mod random;
pub mod sums;
pub mod world;

use random::Random;
use sums::Sums;
use world::World;

/// Plays one history of this many steps, or fewer if the bytes run out.
pub fn history(random: Random, steps: usize) -> Sums {
    let mut world = World::new(random);
    for _ in 0..steps {
        if world.random.is_over() {
            break;
        }
        world.step();
        world.look();
    }
    world.finish()
}
