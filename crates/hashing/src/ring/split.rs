//! Splits and merges: children inherit the tokens of their parents, so that nobody else is touched.

use std::cmp::Reverse;

use super::{
    Placement, Ring,
    arcs::{Arc, Arcs},
    index,
    member::Member,
    placed,
};
use crate::{Error, Weight};

impl<S: AsRef<str> + Clone> Ring<S> {
    /// Replaces a shard by two children, which divide its arcs so that each gets about half of its positions.
    ///
    /// If whole arcs divide unevenly, one arc is cut. Each child has half the weight. A child may take the
    /// parent's name.
    ///
    /// # Errors
    /// [`Error::UnknownShard`], [`Error::ShardExists`] for a child, [`Error::Indivisible`], or [`Error::Weight`]
    /// if the children would be too light.
    #[doc(alias = "split_shard")]
    pub fn split(&mut self, parent: S, left: S, right: S) -> Result<(), Error> {
        let parent_name = parent.as_ref();
        let old = self.require(parent_name)?;
        for child in [left.as_ref(), right.as_ref()] {
            if child != parent_name {
                self.require_absent(child)?;
            }
        }
        if left.as_ref() == right.as_ref() {
            return Err(Error::ShardExists {
                shard: right.as_ref().to_owned(),
            });
        }
        let weight = self.members[old as usize].weight.half()?;
        let new = index(self.members.len());
        let Some(arcs) = halve(&self.arcs, old, new) else {
            return Err(Error::Indivisible {
                shard: parent_name.to_owned(),
            });
        };
        self.members[old as usize] = Member {
            shard: left,
            weight,
        };
        self.members.push(Member {
            shard: right,
            weight,
        });
        self.arcs = Arcs::new(arcs);
        Ok(())
    }

    /// Replaces two shards or more by one, which gets all their arcs and the sum of their weights.
    ///
    /// The child may take the name of one of them.
    ///
    /// # Errors
    /// [`Error::MergeOfOne`], [`Error::UnknownShard`], [`Error::ShardExists`] for the child, or [`Error::Weight`] if
    /// it would be too heavy.
    #[doc(alias = "merge_shards")]
    pub fn merge(&mut self, parents: &[S], child: S) -> Result<(), Error> {
        let owners: Result<Vec<u32>, Error> = parents
            .iter()
            .map(|parent| self.require(parent.as_ref()))
            .collect();
        let mut owners = owners?;
        owners.sort_unstable();
        let given = owners.len();
        owners.dedup();
        if owners.len() < 2 || owners.len() < given {
            return Err(Error::MergeOfOne);
        }
        if self
            .find(child.as_ref())
            .is_some_and(|owner| !owners.contains(&owner))
        {
            return Err(Error::ShardExists {
                shard: child.as_ref().to_owned(),
            });
        }
        let heir = owners[0];
        let weights = owners
            .iter()
            .map(|owner| self.members[*owner as usize].weight);
        let weight = Weight::new(Weight::sum(weights))?;
        let mut arcs = self.arcs.to_vec();
        for arc in arcs.iter_mut().filter(|arc| owners.contains(&arc.owner)) {
            arc.owner = heir;
        }
        if self.placement == Placement::Placed {
            arcs = placed::join(arcs);
        }
        self.members[heir as usize] = Member {
            shard: child,
            weight,
        };
        // The highest number first, because the last member takes the number of the one that is forgotten.
        for gone in owners[1..].iter().rev() {
            self.forget(*gone, &mut arcs);
        }
        self.arcs = Arcs::new(arcs);
        Ok(())
    }
}

/// Returns the arcs after about half of what `old` owns has gone to `new`; `None` if `old` owns a single position.
fn halve(arcs: &Arcs, old: u32, new: u32) -> Option<Vec<Arc>> {
    let mut all = arcs.to_vec();
    let mut own: Vec<(usize, u128)> = arcs
        .measured()
        .enumerate()
        .filter(|(_, (arc, _))| arc.owner == old)
        .map(|(at, (_, length))| (at, length))
        .collect();
    own.sort_by_key(|(at, length)| (Reverse(*length), *at));
    let (mut stays, mut goes) = (0_u128, 0_u128);
    for (at, length) in &own {
        if stays <= goes {
            stays += length;
        } else {
            goes += length;
            all[*at].owner = new;
        }
    }
    let tolerated = (stays + goes) / 16;
    if stays.abs_diff(goes) > tolerated || goes == 0 {
        let (from, to) = if stays > goes { (old, new) } else { (new, old) };
        let cut = stays.abs_diff(goes) / 2;
        // The longest arc of the heavier side is longer than the difference, or the sides would differ less.
        let (at, length) = *own.iter().find(|(at, _)| all[*at].owner == from)?;
        let kept = u64::try_from(length - cut).ok()?;
        if cut > 0 {
            all.push(Arc {
                start: all[at].start.wrapping_add(kept),
                owner: to,
            });
        }
    }
    all.iter().any(|arc| arc.owner == new).then_some(all)
}
