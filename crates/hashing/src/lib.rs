//! Maps keys to positions and positions to shards: SHA-256, rings, jump, rendezvous and partitioning strategies.

mod position;
mod typed_key;

pub use crate::{
    position::{Position, hash_to_shard, sha256_hex},
    typed_key::TypedKey,
};
