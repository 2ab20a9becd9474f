//! The shards of a map in range order, in a tree of which the map after a change shares all but one path.

use std::{ops::Index, sync::Arc};

use super::Shard;

/// 64 shards to a leaf and 64 leaves to a branch: a change of one of 100,000 shards copies some 150 pointers.
const WIDTH_BITS: u32 = 6;
const WIDTH: usize = 1 << WIDTH_BITS;

type Leaf = Arc<[Shard]>;
type Branch = Arc<[Leaf]>;

/// The shards of a map that own ranges, in range order. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shards {
    /// All are full but the last, as are their leaves.
    branches: Arc<[Branch]>,
    len: usize,
}

/// The way to a place: a branch, a leaf in it, and a place in that.
#[inline]
fn path(place: usize) -> (usize, usize, usize) {
    let leaf = place >> WIDTH_BITS;
    (leaf >> WIDTH_BITS, leaf % WIDTH, place % WIDTH)
}

impl Shards {
    /// Takes shards in range order.
    pub(super) fn new(shards: &[Shard]) -> Self {
        let branch = |shards: &[Shard]| shards.chunks(WIDTH).map(Leaf::from).collect();
        Self {
            branches: shards.chunks(WIDTH * WIDTH).map(branch).collect(),
            len: shards.len(),
        }
    }

    /// Returns how many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a map is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the shard at a place in range order, from 0.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Shard> {
        let (branch, leaf, at) = path(place);
        self.branches.get(branch)?.get(leaf)?.get(at)
    }

    /// Iterates over them in range order.
    pub fn iter(&self) -> impl Iterator<Item = &Shard> + Clone {
        let leaves = self.branches.iter().flat_map(|branch| branch.iter());
        leaves.flat_map(|leaf| leaf.iter())
    }

    /// Returns the shards with another one in one place.
    pub(super) fn with(&self, place: usize, shard: Shard) -> Self {
        let mut branches = Arc::clone(&self.branches);
        let (branch, leaf, at) = path(place);
        let branch = &mut Arc::make_mut(&mut branches)[branch];
        let leaf = &mut Arc::make_mut(branch)[leaf];
        Arc::make_mut(leaf)[at] = shard;
        Self {
            branches,
            len: self.len,
        }
    }

    /// Returns those whose record is not the one at the same place of `older`, which has as many.
    pub(super) fn changed_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = &'a Shard> {
        let branches = self.branches.iter().zip(older.branches.iter());
        branches
            .filter(|(new, old)| !Arc::ptr_eq(new, old))
            .flat_map(|(new, old)| new.iter().zip(old.iter()))
            .filter(|(new, old)| !Arc::ptr_eq(new, old))
            .flat_map(|(new, old)| new.iter().zip(old.iter()))
            .filter(|(new, old)| !Arc::ptr_eq(&new.record, &old.record))
            .map(|(new, _)| new)
    }
}

impl Index<usize> for Shards {
    type Output = Shard;

    /// # Panics
    /// If there is no shard at that place.
    #[inline]
    fn index(&self, place: usize) -> &Shard {
        let (branch, leaf, at) = path(place);
        &self.branches[branch][leaf][at]
    }
}

impl<'a> IntoIterator for &'a Shards {
    type Item = &'a Shard;
    type IntoIter = Box<dyn Iterator<Item = &'a Shard> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}
