//! CollegeDB's string hash, for data that it placed.

/// Returns the 32-bit hash that CollegeDB computes of a key: `h * 31 + unit` over its UTF-16 units, wrapping.
#[must_use]
pub fn string_hash(key: &str) -> i32 {
    key.encode_utf16().fold(0, |hash: i32, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// Returns the shard, counted from 0, that CollegeDB's strategy `hash` chooses for a key.
///
/// CollegeDB counts its shards in the order of its configuration object: names that are integers first,
/// ascending, then the others as they were written.
///
/// # Panics
/// If `shards` is 0.
#[must_use]
pub fn string_hash_to_shard(key: &str, shards: u32) -> u32 {
    assert!(shards > 0, "there is at least one shard");
    string_hash(key).unsigned_abs() % shards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, hash: i32, by_2: u32, by_3: u32, by_10: u32) {
        assert_eq!(string_hash(key), hash);
        let shards = [2, 3, 10].map(|shards| string_hash_to_shard(key, shards));
        assert_eq!(shards, [by_2, by_3, by_10]);
    }

    #[test]
    fn the_string_hash_is_pinned() {
        check("user-123", -267_697_872, 0, 0, 2);
        check("user-456", -267_694_893, 1, 0, 3);
        check("email:john@example.com", -694_624_410, 0, 0, 0);
        check("", 0, 0, 0, 0);
        check("é", 233, 1, 2, 3);
        check("日本", 835_047, 1, 0, 7);
    }

    #[test]
    fn characters_beyond_16_bits_count_as_two_units() {
        check("😀", 1_772_899, 1, 1, 9);
    }

    #[test]
    fn the_smallest_hash_has_an_absolute_value() {
        check("polygenelubricants", i32::MIN, 0, 2, 8);
    }
}
