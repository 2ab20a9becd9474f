//! Jump hash: a balanced shard number without any table, for shards that come and go at the end only.

use crate::Position;

impl Position {
    /// Returns the shard, counted from 0, of this position by jump consistent hash (Lamping and Veach, 2014).
    ///
    /// Growing from n to n + 1 shards moves one key in n + 1, and only to the new shard. Only the last shard can
    /// be taken away. It costs about ln(n) steps and no memory.
    ///
    /// # Panics
    /// If `shards` is 0.
    #[must_use]
    pub fn jump(self, shards: u32) -> u32 {
        assert!(shards > 0, "there is at least one shard");
        let mut key = self.0;
        let mut shard = 0;
        let mut next = 0;
        while next < i64::from(shards) {
            shard = next;
            key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
            next = step(shard, key);
        }
        u32::try_from(shard).expect("the last step stayed below `shards`")
    }
}

/// Returns the number of shards at which a key that has arrived at `shard` moves on.
fn step(shard: i64, key: u64) -> i64 {
    let scale = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
    ((shard + 1) as f64 * scale) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jumps_are_pinned() {
        let cases = [
            (1, 1, 0),
            (42, 57, 43),
            (0xdead_10cc, 1, 0),
            (0xdead_10cc, 666, 361),
            (256, 1024, 520),
        ];
        for (key, shards, shard) in cases {
            assert_eq!(
                Position(key).jump(shards),
                shard,
                "key {key} among {shards}"
            );
        }
    }

    #[test]
    fn a_new_shard_takes_its_share_and_nothing_else_moves() {
        let keys = 10_000;
        for shards in [1, 2, 9, 100] {
            let mut moved = 0_u32;
            for key in 0..keys {
                let position = Position::of(format!("key-{key}"));
                let (before, after) = (position.jump(shards), position.jump(shards + 1));
                if before != after {
                    assert_eq!(after, shards, "a key moved between two old shards");
                    moved += 1;
                }
            }
            let share = keys / (shards + 1);
            assert!(
                moved.abs_diff(share) < share / 4 + 30,
                "{moved} moved, not {share}"
            );
        }
    }
}
