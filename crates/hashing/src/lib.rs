//! Maps keys to positions and positions to shards: SHA-256, rings, jump, rendezvous and partitioning strategies.
//!
//! A [`Position`] is a point of a space from 0 to 2^64, and [`Position::of`] a key is the start of its SHA-256 digest.
//! A [`TypedKey`] is the key of a row, whose position says which shard of a table holds it. From there on, several rules
//! lead to a shard: equal ranges ([`Position::equal_range`]), the remainder ([`hash_to_shard`]), a [`Ring`]
//! that keeps every other key in its place when shards come, go, split and merge, [`Position::jump`],
//! [`Rendezvous`], and the [strategies](strategy) by hash, by range of the key, or by both.
//!
//! ```
//! use shardwright_hashing::{Position, Ring, hash_to_shard};
//!
//! assert_eq!(hash_to_shard("tenant-123", 10), 3);
//! assert_eq!(Position::of("tenant-123").to_string(), "099e0572953afd9d");
//!
//! let mut ring = Ring::hashed();
//! ring.add("shard-0")?;
//! ring.add("shard-1")?;
//! let before = ring.clone();
//! ring.add("shard-2")?;
//! for key in ["user:1", "user:2", "user:3", "user:4"] {
//!     let stayed = ring.shard_of(key) == before.shard_of(key);
//!     assert!(stayed || ring.shard_of(key) == Some(&"shard-2"));
//! }
//! # Ok::<_, shardwright_hashing::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - Every function gives the same answer on every platform and in every release: data is placed by them, and tests pin
//!   their results. [`Position::fast_of`] is as stable, but no other system computes it.
//! - No function does I/O, reads a clock or takes a lock; look-ups do not allocate.
//!
//! # What this crate does not do
//!
//! It does not say which node holds a shard, and remembers no key. [`allocation`] chooses a home for a key that
//! has none; whoever asks records the choice.
//!
//! # Features
//!
//! - `serde`: positions, weights, regions and the tokens of rings are serialisable.

pub mod allocation;
mod error;
mod fast;
mod jump;
mod position;
mod region;
mod rendezvous;
pub mod ring;
pub mod strategy;
mod string_hash;
mod typed_key;
mod weight;

pub use crate::{
    error::Error,
    position::{Position, hash_to_shard, sha256_hex},
    region::Region,
    rendezvous::Rendezvous,
    ring::Ring,
    string_hash::{string_hash, string_hash_to_shard},
    typed_key::TypedKey,
    weight::Weight,
};
