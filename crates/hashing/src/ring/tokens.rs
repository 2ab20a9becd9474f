//! Tokens for storage: a ring as plain values, and back.

use std::num::NonZeroU32;

use super::{
    Placement, Ring,
    arcs::{Arc, Arcs},
    index,
    member::Member,
};
use crate::{Error, Position, Weight};

/// A ring as plain values, to be stored. With the feature `serde` it is serialisable.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RingTokens<S> {
    /// The version of this format, [`RingTokens::<()>::VERSION`].
    pub version: u32,
    /// Where the tokens of further shards will come from.
    pub placement: Placement,
    /// How many virtual nodes a further shard of weight 1 will have.
    pub virtual_nodes: NonZeroU32,
    /// The shards.
    pub shards: Vec<ShardTokens<S>>,
}

/// A shard of a stored ring.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ShardTokens<S> {
    /// Its name.
    pub shard: S,
    /// Its weight.
    pub weight: Weight,
    /// Its tokens, ascending.
    pub tokens: Vec<Position>,
}

impl<S> RingTokens<S> {
    /// The version of the format that this release writes.
    pub const VERSION: u32 = 1;
}

impl<S: AsRef<str> + Clone> Ring<S> {
    /// Returns the ring as plain values, from which [`Ring::from_tokens`] makes an equal one.
    #[must_use]
    pub fn tokens(&self) -> RingTokens<S> {
        let shard = |member: &Member<S>| ShardTokens {
            shard: member.shard.clone(),
            weight: member.weight,
            tokens: Vec::new(),
        };
        let mut shards: Vec<ShardTokens<S>> = self.members.iter().map(shard).collect();
        for arc in self.arcs.iter() {
            shards[arc.owner as usize].tokens.push(Position(arc.start));
        }
        RingTokens {
            version: RingTokens::<S>::VERSION,
            placement: self.placement,
            virtual_nodes: self.virtual_nodes,
            shards,
        }
    }
}

impl<S: AsRef<str>> Ring<S> {
    /// Returns the ring that was stored.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], and for tokens that no ring has written [`Error::ShardExists`],
    /// [`Error::NoToken`] or [`Error::TokenTaken`].
    pub fn from_tokens(stored: RingTokens<S>) -> Result<Self, Error> {
        let known = RingTokens::<S>::VERSION;
        if stored.version != known {
            return Err(Error::UnknownVersion {
                version: stored.version,
                known,
            });
        }
        let mut ring = Self::new(stored.placement, stored.virtual_nodes.get());
        let mut arcs: Vec<Arc> = Vec::new();
        for (
            owner,
            ShardTokens {
                shard,
                weight,
                tokens,
            },
        ) in stored.shards.into_iter().enumerate()
        {
            ring.require_absent(shard.as_ref())?;
            if tokens.is_empty() {
                return Err(Error::NoToken {
                    shard: shard.as_ref().to_owned(),
                });
            }
            let owner = index(owner);
            arcs.extend(tokens.iter().map(|token| Arc {
                start: token.0,
                owner,
            }));
            ring.members.push(Member { shard, weight });
        }
        arcs.sort_unstable_by_key(|arc| arc.start);
        if let Some(pair) = arcs.windows(2).find(|pair| pair[0].start == pair[1].start) {
            return Err(Error::TokenTaken {
                position: Position(pair[0].start),
            });
        }
        ring.arcs = Arcs::new(arcs);
        Ok(ring)
    }
}
