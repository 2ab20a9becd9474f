//! Round-robin allocation.

/// Gives each shard its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoundRobin {
    turn: u32,
}

impl RoundRobin {
    /// Returns the sequence that begins with `turn`, for one that goes on from a stored state.
    #[must_use]
    pub fn starting_at(turn: u32) -> Self {
        Self { turn }
    }

    /// Returns the shard whose turn comes next, as it is to be stored.
    #[doc(alias = "roundRobinIndex")]
    #[must_use]
    pub fn turn(self) -> u32 {
        self.turn
    }

    /// Returns one of `shards` and passes the turn on; with fewer shards than before it starts again at 0.
    ///
    /// # Panics
    /// If `shards` is 0.
    pub fn next(&mut self, shards: u32) -> u32 {
        assert!(shards > 0, "there is at least one shard");
        let shard = if self.turn < shards { self.turn } else { 0 };
        self.turn = (shard + 1) % shards;
        shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_its_turn() {
        let mut turns = RoundRobin::default();
        let shards: Vec<u32> = (0..7).map(|_| turns.next(3)).collect();
        assert_eq!(shards, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn a_stored_turn_is_taken_up_again() {
        let mut turns = RoundRobin::starting_at(RoundRobin::starting_at(2).turn());
        assert_eq!(turns.next(4), 2);
        assert_eq!(turns.next(4), 3);
        assert_eq!(turns.next(4), 0);
    }

    #[test]
    fn shards_may_come_and_go() {
        let mut turns = RoundRobin::starting_at(3);
        assert_eq!(turns.next(2), 0);
        assert_eq!(turns.next(5), 1);
        assert_eq!(turns.next(5), 2);
    }
}
