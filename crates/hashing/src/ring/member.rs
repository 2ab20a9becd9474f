//! A shard on the ring, and the tokens that follow from its name.

use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

use crate::{Position, Weight};

/// A shard on the ring.
#[derive(Debug, Clone)]
pub(super) struct Member<S> {
    pub(super) shard: S,
    pub(super) weight: Weight,
}

impl<S: AsRef<str>> Member<S> {
    /// Returns how many virtual nodes a shard of this weight has: at least one.
    pub(super) fn virtual_nodes(&self, of_weight_one: NonZeroU32) -> u32 {
        let scaled = f64::from(of_weight_one.get()) * self.weight.value();
        (scaled.round() as u32).max(1)
    }

    /// Returns the hashed tokens, two for each virtual node: the first eight bytes, big-endian, and the next eight
    /// of the SHA-256 digest of `length of the name, name, number of the virtual node`, where the length and the
    /// number are four bytes big-endian.
    ///
    /// The second token costs no digest, and makes the shares of the shards differ by a third less.
    pub(super) fn hashed_tokens(&self, virtual_nodes: u32) -> impl Iterator<Item = u64> {
        let name = self.shard.as_ref();
        let length = u32::try_from(name.len()).expect("the name of a shard is short");
        let mut prefix = Sha256::new();
        prefix.update(length.to_be_bytes());
        prefix.update(name);
        (0..virtual_nodes).flat_map(move |node| {
            let digest = prefix.clone().chain_update(node.to_be_bytes()).finalize();
            [&digest[..8], &digest[8..16]].map(|half| Position::from_digest(half).0)
        })
    }
}
