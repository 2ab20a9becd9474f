//! CollegeDB's coordinator: the list of its shards, their statistics, homes for keys, and sequences.
//!
//! All of it is in the store and changes by compare-and-set there, so every coordinator may answer every call, a change of the
//! leader loses nothing, and neither does the death of all of them.
//!
//! | key | holds |
//! | --- | --- |
//! | `directory/list/shards` | the registered shards in their order, with their counts |
//! | `directory/list/turn` | whose turn it is |
//! | `directory/home/<bucket>` | the homes of the keys in one of [`BUCKETS`] buckets |
//! | `directory/sequence/<digest>` | a sequence |
//!
//! A key's home is decided once, whatever the strategy, and then remembered as 128 bits of its SHA-256 digest and the name of the
//! shard. That is small, and it is not nothing: about a million keys is what this is made for. A bucket that has
//! [`BUCKET_KEYS_MAX`] keys takes no more, and says so.

mod allocate;
mod change;
mod error;
mod home;
mod record;

use std::sync::{Arc, Mutex as BlockingMutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use shardwright_registry::{Prefix, Record, Records, Store, StoreError};
use shardwright_topology::ShardId;
use tokio::sync::{Mutex, MutexGuard as AsyncGuard};

pub use self::{
    allocate::{Allocate, Allocation, Operation, Strategy},
    error::Error,
    home::{BUCKET_KEYS_MAX, BUCKETS, KEY_MAX},
    record::{SEQUENCE_MAX, SHARDS_MAX, ShardCount},
};
use self::{
    change::change,
    record::{Sequence, ShardList, Turn},
};

/// How a count changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It becomes a number.
    To(u64),
    /// It grows or shrinks by a number, never below 0.
    By(i64),
}

/// CollegeDB's coordinator on a store.
#[doc(alias = "ShardCoordinator")]
#[derive(Debug)]
pub struct Directory {
    store: Arc<dyn Store>,
    /// The strategy of a request that names none.
    default_strategy: Strategy,
    /// Changes of one record by this process take turns, so that they do not contend.
    turns: [Mutex<()>; 16],
    rng: BlockingMutex<StdRng>,
}

const SHARDS: &str = "shards";
const TURN: &str = "turn";

/// How many records are deleted at once.
const DELETES_AT_ONCE: usize = 64;

impl Directory {
    /// Returns the directory in a store. A request that names no strategy gets shards in turn.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            default_strategy: Strategy::default(),
            turns: Default::default(),
            rng: BlockingMutex::new(StdRng::seed_from_u64(rand::rng().next_u64())),
        }
    }

    /// Returns the names of the registered shards, in the order of their registration.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn shards(&self) -> Result<Vec<ShardId>, Error> {
        let stats = self.stats().await?;
        Ok(stats.into_iter().map(|shard| shard.binding).collect())
    }

    /// Returns the statistics of the registered shards, in the order of their registration.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn stats(&self) -> Result<Vec<ShardCount>, Error> {
        let list = self.list::<ShardList>().get(SHARDS).await?;
        Ok(list.map(|list| list.value.shards).unwrap_or_default())
    }

    /// Registers a shard, unless it is. Returns whether it was not.
    ///
    /// # Errors
    /// [`Error::TooManyShards`] or [`Error::Registry`].
    pub async fn add_shard(&self, shard: &ShardId, now_ms: u64) -> Result<bool, Error> {
        self.change_list(|list| {
            let added = !list.shards.iter().any(|known| known.binding == *shard);
            if added {
                if list.shards.len() >= SHARDS_MAX {
                    return Err(Error::TooManyShards);
                }
                list.shards.push(ShardCount::new(shard.clone(), now_ms));
            }
            Ok(added)
        })
        .await
    }

    /// Forgets a shard and its count. Returns whether it was registered.
    ///
    /// The homes of keys stay: their rows are there. Only no key gets its home there any more.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn remove_shard(&self, shard: &ShardId) -> Result<bool, Error> {
        self.change_list(|list| {
            let before = list.shards.len();
            list.shards.retain(|known| known.binding != *shard);
            Ok(list.shards.len() < before)
        })
        .await
    }

    /// Changes the count of a shard, and returns it.
    ///
    /// # Errors
    /// [`Error::UnknownShard`] or [`Error::Registry`].
    pub async fn count(
        &self,
        shard: &ShardId,
        counted: Counted,
        now_ms: u64,
    ) -> Result<u64, Error> {
        self.change_list(|list| {
            let known = list.shards.iter_mut().find(|known| known.binding == *shard);
            let known = known.ok_or_else(|| Error::UnknownShard {
                shard: shard.clone(),
            })?;
            known.count = match counted {
                Counted::To(count) => count,
                Counted::By(change) => known.count.saturating_add_signed(change),
            };
            known.last_updated = now_ms;
            Ok(known.count)
        })
        .await
    }

    /// Counts one more key on a shard, and returns how many there are.
    ///
    /// # Errors
    /// As [`Directory::count`].
    #[doc(alias = "incrementShardCount")]
    pub async fn increment(&self, shard: &ShardId, now_ms: u64) -> Result<u64, Error> {
        self.count(shard, Counted::By(1), now_ms).await
    }

    /// Counts one key less on a shard, and returns how many there are.
    ///
    /// # Errors
    /// As [`Directory::count`].
    #[doc(alias = "decrementShardCount")]
    pub async fn decrement(&self, shard: &ShardId, now_ms: u64) -> Result<u64, Error> {
        self.count(shard, Counted::By(-1), now_ms).await
    }

    /// Returns the next number of a sequence: one more than the last, and at least `min`. No number comes twice; some may be
    /// left out.
    ///
    /// # Errors
    /// [`Error::NoName`], [`Error::SequenceEnds`] or [`Error::Registry`].
    pub async fn next(&self, sequence: &str, min: u64) -> Result<u64, Error> {
        if sequence.is_empty() || sequence.len() > KEY_MAX {
            return Err(Error::NoName);
        }
        let digest = shardwright_hashing::sha256_hex(sequence);
        let _turn = self.turn(&digest).await;
        let writer = self.draw();
        let records = self.records::<Sequence>("directory/sequence/");
        change(&records, &digest, writer, |current| {
            let last = current.map_or(0, |current| current.value);
            let value = last.saturating_add(1).max(min);
            if value > SEQUENCE_MAX {
                return Err(Error::SequenceEnds);
            }
            let name = sequence.to_owned();
            let next = Sequence {
                name,
                value,
                writer,
            };
            Ok((Some(next), value))
        })
        .await
    }

    /// Forgets everything: shards, counts, homes and sequences. For development.
    ///
    /// # Errors
    /// [`Error::Registry`]: some of it may be gone.
    pub async fn flush(&self) -> Result<(), Error> {
        let prefix = Prefix::new("directory/").expect("a valid prefix");
        let listing = self.store.list(&prefix).await.map_err(registry)?;
        let deletions = listing.entries.into_iter().map(|entry| async move {
            match self.store.delete(&entry.key, entry.revision).await {
                // Somebody was faster, or adds to it again.
                Ok(()) | Err(StoreError::Conflict { .. }) => Ok(()),
                Err(error) => Err(registry(error)),
            }
        });
        stream::iter(deletions)
            .buffer_unordered(DELETES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn change_list<R: Send>(
        &self,
        mut decide: impl FnMut(&mut ShardList) -> Result<R, Error> + Send,
    ) -> Result<R, Error> {
        let _turn = self.turn(SHARDS).await;
        let writer = self.draw();
        change(&self.list::<ShardList>(), SHARDS, writer, |current| {
            let mut list = current.cloned().unwrap_or_default();
            let result = decide(&mut list)?;
            let changed = current.map_or(&[][..], |current| &current.shards) != list.shards;
            list.writer = writer;
            Ok((changed.then_some(list), result))
        })
        .await
    }

    /// Passes the turn on among `count` shards, and returns whose it was.
    async fn pass_turn(&self, count: u32) -> Result<u32, Error> {
        let _turn = self.turn(TURN).await;
        let writer = self.draw();
        change(&self.list::<Turn>(), TURN, writer, |current| {
            let mut turns = Turn::round_robin(current);
            let shard = turns.next(count);
            let next = turns.turn();
            Ok((Some(Turn { next, writer }), shard))
        })
        .await
    }

    fn list<T: Record>(&self) -> Records<T> {
        self.records("directory/list/")
    }

    fn records<T: Record>(&self, prefix: &str) -> Records<T> {
        let prefix = Prefix::new(prefix).expect("a valid prefix");
        Records::new(self.store.clone(), prefix)
    }

    /// Waits until no other task of this process changes the record with a name, or one that shares its lock.
    async fn turn(&self, name: &str) -> AsyncGuard<'_, ()> {
        let place = shardwright_hashing::hash_to_shard(name, 16);
        self.turns[place as usize].lock().await
    }

    fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) -> u64 {
        self.rng().next_u64()
    }
}

fn registry(error: StoreError) -> Error {
    Error::Registry(error.into())
}

#[cfg(test)]
mod tests;
