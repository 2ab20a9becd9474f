//! The homes of keys: which shard each one was given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shardwright_hashing::sha256_hex;
use shardwright_registry::Record;
use shardwright_topology::ShardId;

/// In how many buckets the homes are kept: one record each.
pub const BUCKETS: usize = 4_096;

/// How many homes a bucket holds.
pub const BUCKET_KEYS_MAX: usize = 512;

/// The longest key, and the longest name of a sequence, in bytes.
pub const KEY_MAX: usize = 4_096;

/// Where the home of a key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The name of the bucket: three hexadecimal digits.
    pub(super) bucket: String,
    /// The name of the key in it: the next 32 digits of its digest.
    pub(super) key: String,
}

impl Place {
    pub(super) fn of(key: &str) -> Self {
        let digest = sha256_hex(key);
        Self {
            bucket: digest[..3].to_owned(),
            key: digest[3..35].to_owned(),
        }
    }
}

/// The homes of the keys of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bucket {
    pub(super) homes: BTreeMap<String, ShardId>,
}

impl Record for Bucket {
    const KIND: &'static str = "bucket of homes";
    const VERSION: u64 = 1;
}

#[cfg(test)]
mod tests {
    use shardwright_registry::{VALUE_MAX, encode};

    use super::*;

    #[test]
    fn the_place_of_a_key_is_a_format() {
        let place = Place::of("abc");
        assert_eq!(place.bucket, "ba7");
        assert_eq!(place.key, "816bf8f01cfea414140de5dae2223b00");
        assert_eq!(16_usize.pow(3), BUCKETS);
    }

    #[test]
    fn a_full_bucket_fits_in_a_value() {
        let longest = ShardId::new("s".repeat(63)).expect("a name");
        let homes = (0..BUCKET_KEYS_MAX).map(|key| (format!("{key:032x}"), longest.clone()));
        let bucket = Bucket {
            homes: homes.collect(),
        };
        let stored = encode(&bucket).expect("a valid record");
        assert!(stored.len() < VALUE_MAX / 4, "{} bytes", stored.len());
    }
}
