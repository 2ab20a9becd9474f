//! The vocabulary of a sharded system: ids, key ranges, epochs, shard records and shard maps.
