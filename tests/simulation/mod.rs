//! A world around the decisions of `core`, played from a seed or from bytes.

pub mod administrator;
pub mod promises;
pub mod random;
pub mod sums;
pub mod world;

use random::Random;
use sums::Sums;
use world::World;

/// One history of so many steps, or as many as the bytes are good for.
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
