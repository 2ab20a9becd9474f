//! The shards of a map in range order, in chunks that the map after a change shares.

use std::{ops::Index, sync::Arc};

use super::Shard;

/// 256 shards: a change of one copies as many pointers as there are chunks, and one chunk, which is little of both up to
/// hundreds of thousands of shards.
const CHUNK_BITS: u32 = 8;
const CHUNK: usize = 1 << CHUNK_BITS;

/// The shards of a map that own ranges, in range order. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shards {
    /// All are full but the last.
    chunks: Arc<[Arc<[Shard]>]>,
    len: usize,
}

impl Shards {
    /// Takes shards in range order.
    pub(super) fn new(shards: &[Shard]) -> Self {
        Self {
            chunks: shards.chunks(CHUNK).map(Arc::from).collect(),
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
        self.chunks.get(place >> CHUNK_BITS)?.get(place % CHUNK)
    }

    /// Iterates over them in range order.
    pub fn iter(&self) -> impl Iterator<Item = &Shard> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Returns the shards with another one in one place.
    pub(super) fn with(&self, place: usize, shard: Shard) -> Self {
        let mut chunks = Arc::clone(&self.chunks);
        let chunk = &mut Arc::make_mut(&mut chunks)[place >> CHUNK_BITS];
        Arc::make_mut(chunk)[place % CHUNK] = shard;
        Self {
            chunks,
            len: self.len,
        }
    }

    /// Returns those whose record is not the one at the same place of `older`, which has as many.
    pub(super) fn changed_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = &'a Shard> {
        let chunks = self.chunks.iter().zip(older.chunks.iter());
        chunks
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
        &self.chunks[place >> CHUNK_BITS][place % CHUNK]
    }
}

impl<'a> IntoIterator for &'a Shards {
    type Item = &'a Shard;
    type IntoIter = Box<dyn Iterator<Item = &'a Shard> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}
