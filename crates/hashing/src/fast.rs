//! The fast hash: XXH3, for keys whose positions never leave one system.

use xxhash_rust::xxh3::xxh3_64;

use crate::Position;

impl Position {
    /// Returns the position of a key by XXH3 instead of SHA-256, several times as fast.
    ///
    /// Nobody else computes it, and whoever can choose keys can choose them to collide: use it where keys are
    /// trusted and no other system has to agree. Positions by [`Position::of`] are unrelated; never mix the two
    /// in one ring or one set of ranges.
    #[doc(alias = "xxh3")]
    #[must_use]
    pub fn fast_of(key: impl AsRef<[u8]>) -> Self {
        Self(xxh3_64(key.as_ref()))
    }
}

/// Scrambles a position with a salt, so that each salt orders the positions anew (the finalizer of SplitMix64).
pub(crate) fn scramble(position: u64, salt: u64) -> u64 {
    let mut z = (position ^ salt).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_position_of_a_key_is_pinned() {
        assert_eq!(Position::fast_of(""), Position(0x2d06_8005_38d3_94c2));
        assert_eq!(
            Position::fast_of("tenant-123"),
            Position(0xed81_9b4a_709f_abf1)
        );
    }

    #[test]
    fn scrambling_is_pinned() {
        // The first output of SplitMix64 with seed 0.
        assert_eq!(scramble(0, 0), 0xe220_a839_7b1d_cdaf);
    }
}
