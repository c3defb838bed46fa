//! Counts of the events in one history or many.

#[derive(Debug, Default)]
pub struct Sums {
    pub arrived: u64,
    pub served: u64,
    pub refused: u64,
    pub failed: u64,
    pub pauses: u64,
    pub recovered: u64,
    pub made_room: u64,
    pub reloads: u64,
    pub asked: u64,
    pub ended_by_force: u64,
    pub stops: u64,
    pub waited_for_a_token: u64,
}

#[allow(dead_code)] // unused for a single history
impl Sums {
    pub fn add(&mut self, other: &Sums) {
        for (sum, more) in self.all().into_iter().zip(other.values()) {
            *sum += more;
        }
    }

    fn all(&mut self) -> [&mut u64; 12] {
        let Sums { arrived, served, refused, failed, pauses, recovered, made_room, reloads, .. } = self;
        let Sums { asked, ended_by_force, stops, waited_for_a_token, .. } = self;
        [
            arrived,
            served,
            refused,
            failed,
            pauses,
            recovered,
            made_room,
            reloads,
            asked,
            ended_by_force,
            stops,
            waited_for_a_token,
        ]
    }

    fn values(&self) -> [u64; 12] {
        let copy = &mut Sums { ..*self };
        copy.all().map(|sum| *sum)
    }

    pub fn each_happened(&self) -> bool {
        self.values().iter().all(|&sum| sum > 0)
    }
}
