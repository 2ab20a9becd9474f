//! The ring: positions divided into arcs, of which each shard owns many small ones.
//!
//! A token is the position at which an arc starts; the arc ends before the next token, and the last one goes on through
//! zero. Whatever happens to the shards, a position changes hands only if its old or its new owner took part.

mod arcs;
mod member;
mod placed;
mod prefix_index;
mod split;
mod tokens;

pub use self::tokens::{RingTokens, ShardTokens};

use std::{collections::BTreeSet, num::NonZeroU32};

use self::{
    arcs::{Arc, Arcs},
    member::Member,
};
use crate::{Error, Position, Weight};

/// How many virtual nodes a shard of weight 1 has when nothing is said about it.
#[doc(alias = "virtual_nodes_per_shard")]
pub const DEFAULT_VIRTUAL_NODES: u32 = 150;

/// Where a new shard's tokens come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Placement {
    /// From the hash of its name, two for each virtual node: whoever knows the names and weights knows the ring,
    /// until a shard is split or merged. With 100 shards of 150 virtual nodes the heaviest has about a seventh more
    /// than the mean.
    Hashed,
    /// From the arcs of the shards that have the most, one for each virtual node: with 100 shards of 150 the
    /// heaviest has about a hundredth more than the mean. The tokens depend on the history, so they have to be
    /// stored.
    Placed,
}

/// A consistent-hashing ring with virtual nodes, weights, and splits and merges that move no other shard's keys.
///
/// A look-up reads one line of memory, whatever the number of shards (up to 65534; above, it searches); a change costs
/// time in proportion to the number of tokens.
///
/// ```
/// use shardwright_hashing::{Position, Ring};
///
/// let mut ring = Ring::hashed();
/// for shard in ["shard-0", "shard-1", "shard-2"] {
///     ring.add(shard)?;
/// }
/// let home = *ring.shard_of("user:1234").expect("the ring has shards");
///
/// ring.split(home, "left", "right")?;
/// let child = *ring.shard_of("user:1234").expect("the ring has shards");
/// assert!(child == "left" || child == "right");
///
/// ring.merge(&["left", "right"], home)?;
/// assert_eq!(ring.shard_of("user:1234"), Some(&home));
/// # Ok::<_, shardwright_hashing::Error>(())
/// ```
#[doc(alias = "HashRing")]
#[derive(Debug, Clone)]
pub struct Ring<S> {
    placement: Placement,
    virtual_nodes: NonZeroU32,
    members: Vec<Member<S>>,
    arcs: Arcs,
}

impl<S: AsRef<str>> Ring<S> {
    /// Returns the empty ring of hashed tokens with [`DEFAULT_VIRTUAL_NODES`].
    #[must_use]
    pub fn hashed() -> Self {
        Self::new(Placement::Hashed, DEFAULT_VIRTUAL_NODES)
    }

    /// Returns the empty ring of placed tokens with [`DEFAULT_VIRTUAL_NODES`].
    #[must_use]
    pub fn placed() -> Self {
        Self::new(Placement::Placed, DEFAULT_VIRTUAL_NODES)
    }

    /// Returns the empty ring in which a shard of weight 1 has `virtual_nodes`.
    ///
    /// # Panics
    /// If `virtual_nodes` is 0.
    #[must_use]
    pub fn new(placement: Placement, virtual_nodes: u32) -> Self {
        let virtual_nodes =
            NonZeroU32::new(virtual_nodes).expect("a shard has at least one virtual node");
        Self {
            placement,
            virtual_nodes,
            members: Vec::new(),
            arcs: Arcs::default(),
        }
    }

    /// Adds a shard of weight 1. Keys move to it and nowhere else.
    ///
    /// # Errors
    /// [`Error::ShardExists`].
    pub fn add(&mut self, shard: S) -> Result<(), Error> {
        self.add_weighted(shard, Weight::ONE)
    }

    /// Adds a shard. Keys move to it and nowhere else.
    ///
    /// Its tokens, and with them the memory that they take, are in proportion to the weight.
    ///
    /// # Errors
    /// [`Error::ShardExists`].
    pub fn add_weighted(&mut self, shard: S, weight: Weight) -> Result<(), Error> {
        self.require_absent(shard.as_ref())?;
        let member = Member { shard, weight };
        let nodes = member.virtual_nodes(self.virtual_nodes);
        let arcs = match self.placement {
            Placement::Hashed => {
                let mut arcs = self.arcs.to_vec();
                let owner = index(self.members.len());
                arcs.extend(
                    member
                        .hashed_tokens(nodes)
                        .map(|start| Arc { start, owner }),
                );
                arcs
            }
            Placement::Placed => placed::give(&self.arcs, &self.members, weight, nodes),
        };
        self.members.push(member);
        self.arcs = Arcs::new(arcs);
        Ok(())
    }

    /// Adds several shards, in the time that one takes if the tokens are [hashed](Placement::Hashed).
    ///
    /// # Errors
    /// [`Error::ShardExists`], also if two of them have one name; then none is added.
    pub fn add_all(&mut self, shards: impl IntoIterator<Item = (S, Weight)>) -> Result<(), Error> {
        let shards: Vec<(S, Weight)> = shards.into_iter().collect();
        let mut names = BTreeSet::new();
        let present = self.members.iter().map(|member| member.shard.as_ref());
        for name in present.chain(shards.iter().map(|(shard, _)| shard.as_ref())) {
            if !names.insert(name) {
                return Err(Error::ShardExists {
                    shard: name.to_owned(),
                });
            }
        }
        if self.placement == Placement::Placed {
            let mut added = shards.into_iter();
            return added.try_for_each(|(shard, weight)| self.add_weighted(shard, weight));
        }
        let mut arcs = self.arcs.to_vec();
        for (shard, weight) in shards {
            let owner = index(self.members.len());
            let member = Member { shard, weight };
            let tokens = member.hashed_tokens(member.virtual_nodes(self.virtual_nodes));
            arcs.extend(tokens.map(|start| Arc { start, owner }));
            self.members.push(member);
        }
        self.arcs = Arcs::new(arcs);
        Ok(())
    }

    /// Removes a shard. Its keys move to the others, and no other key moves.
    ///
    /// # Errors
    /// [`Error::UnknownShard`].
    pub fn remove(&mut self, shard: &str) -> Result<(), Error> {
        let gone = self.require(shard)?;
        let mut arcs = match self.placement {
            Placement::Hashed => self.arcs.iter().filter(|arc| arc.owner != gone).collect(),
            Placement::Placed => {
                let nodes = self.members[gone as usize].virtual_nodes(self.virtual_nodes);
                placed::take_over(&self.arcs, &self.members, gone, nodes)
            }
        };
        self.forget(gone, &mut arcs);
        self.arcs = Arcs::new(arcs);
        Ok(())
    }

    /// Returns the shard of a key, by SHA-256; `None` if the ring is empty.
    #[doc(alias = "get_shard_for_key")]
    #[must_use]
    pub fn shard_of(&self, key: impl AsRef<[u8]>) -> Option<&S> {
        self.shard_at(Position::of(key))
    }

    /// Returns the shard of a position; `None` if the ring is empty.
    #[inline]
    #[must_use]
    pub fn shard_at(&self, position: Position) -> Option<&S> {
        let owner = self.arcs.owner_at(position.0)?;
        Some(&self.members[owner as usize].shard)
    }

    /// Returns every shard once, the owner of a position first: natural homes for the copies of what is there.
    ///
    /// They follow in the order of the arcs, downwards, so a shard that is removed takes itself out of the order and changes
    /// nothing else in it.
    pub fn shards_from(&self, position: Position) -> impl Iterator<Item = &S> {
        let mut seen = vec![false; self.members.len()];
        let owners = self.arcs.owners_below(position.0);
        owners
            .filter(move |owner| !std::mem::replace(&mut seen[*owner as usize], true))
            .map(|owner| &self.members[owner as usize].shard)
    }

    /// Returns the shards, in no particular order.
    pub fn shards(&self) -> impl Iterator<Item = &S> {
        self.members.iter().map(|member| &member.shard)
    }

    /// Returns the weight of a shard.
    ///
    /// # Errors
    /// [`Error::UnknownShard`].
    pub fn weight(&self, shard: &str) -> Result<Weight, Error> {
        let owner = self.require(shard)?;
        Ok(self.members[owner as usize].weight)
    }

    /// Returns the number of tokens of all shards together.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.arcs.len()
    }

    /// Returns the part of all positions that a shard owns, from 0 to 1.
    ///
    /// # Errors
    /// [`Error::UnknownShard`].
    pub fn share(&self, shard: &str) -> Result<f64, Error> {
        let owner = self.require(shard)?;
        let share = self.arcs.lengths(self.members.len())[owner as usize] as f64;
        Ok(share / arcs::WHOLE)
    }

    /// Returns how much more the most loaded shard owns than its weight entitles it to: 1 is perfect balance.
    ///
    /// `None` if the ring is empty.
    #[must_use]
    pub fn heaviest_over_mean(&self) -> Option<f64> {
        let all = Weight::sum(self.members.iter().map(|member| member.weight));
        let lengths = self.arcs.lengths(self.members.len());
        let ratio = |(length, member): (u128, &Member<S>)| {
            length as f64 / arcs::WHOLE * all / member.weight.value()
        };
        lengths
            .into_iter()
            .zip(&self.members)
            .map(ratio)
            .reduce(f64::max)
    }

    /// Whether an arc of one of these shards ends where an arc of the other starts.
    ///
    /// # Errors
    /// [`Error::UnknownShard`].
    pub fn adjoin(&self, shard: &str, other: &str) -> Result<bool, Error> {
        let (one, other) = (self.require(shard)?, self.require(other)?);
        let arcs = self.arcs.to_vec();
        let pairs = arcs.iter().zip(arcs.iter().cycle().skip(1));
        let mut owners = pairs.map(|(a, b)| (a.owner, b.owner));
        Ok(owners.any(|pair| pair == (one, other) || pair == (other, one)))
    }

    fn find(&self, shard: &str) -> Option<u32> {
        self.members
            .iter()
            .position(|member| member.shard.as_ref() == shard)
            .map(index)
    }

    fn require(&self, shard: &str) -> Result<u32, Error> {
        self.find(shard).ok_or_else(|| Error::UnknownShard {
            shard: shard.to_owned(),
        })
    }

    fn require_absent(&self, shard: &str) -> Result<(), Error> {
        match self.find(shard) {
            Some(_) => Err(Error::ShardExists {
                shard: shard.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Drops a member that owns no arc any more; the last one takes its number.
    fn forget(&mut self, gone: u32, arcs: &mut [Arc]) {
        self.members.swap_remove(gone as usize);
        let moved = index(self.members.len());
        for arc in arcs.iter_mut().filter(|arc| arc.owner == moved) {
            arc.owner = gone;
        }
    }
}

/// Numbers members in 32 bits.
fn index(place: usize) -> u32 {
    u32::try_from(place).expect("a ring has fewer than 2^32 shards")
}

#[cfg(test)]
mod tests;
