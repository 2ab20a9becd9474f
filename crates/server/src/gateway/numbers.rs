//! The numbers of writes: with them a write that is tried twice happens once.
//!
//! A statement has a client's name and the number of the statement. What it writes at one place after the other has that number there;
//! what it writes at the same place again has a name that follows from the client's.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};
use shardwright_sql::shards::Place;

use super::wire::Number;

/// Which statement of which client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbered {
    client: [u8; 16],
    sequence: u64,
}

impl Numbered {
    /// Returns the number of a statement that its client has numbered.
    pub(super) fn by_client(name: &str, sequence: u64) -> Self {
        Self {
            client: shortened(Sha256::new_with_prefix(b"client\0").chain_update(name)),
            sequence,
        }
    }

    /// Returns the number of the writes that follow `count` others of the statement at a place.
    pub(super) fn after(self, count: u32) -> Number {
        let client = match count {
            0 => self.client,
            _ => shortened(Sha256::new_with_prefix(self.client).chain_update(count.to_be_bytes())),
        };
        Number {
            client,
            sequence: self.sequence,
            position: None,
        }
    }
}

fn shortened(hash: Sha256) -> [u8; 16] {
    let hash = hash.finalize();
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// Gives numbers to writes.
#[derive(Debug)]
pub(super) enum Numbering {
    /// Those of a statement: its writes are counted for each place.
    Statement(Numbered, Mutex<BTreeMap<Place, u32>>),
    /// Each write for itself.
    Calls([u8; 16], AtomicU64),
}

impl Numbering {
    pub(super) fn of_statement(statement: Numbered) -> Self {
        Self::Statement(statement, Mutex::default())
    }

    pub(super) fn of_calls() -> Self {
        Self::Calls(rand::random(), AtomicU64::new(1))
    }

    pub(super) fn next(&self, place: Place) -> Number {
        match self {
            Self::Statement(statement, counts) => {
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                let count = counts.entry(place).or_default();
                let number = statement.after(*count);
                *count += 1;
                number
            }
            Self::Calls(client, calls) => Number {
                client: *client,
                sequence: calls.fetch_add(1, Ordering::Relaxed),
                position: None,
            },
        }
    }
}

/// The gateway's own names, for the statements of clients that have none. Each has one statement at a time: so of each, only the last
/// outcome is ever asked for, however many statements there are at once.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Vec<Numbered>>);

impl Streams {
    /// Takes a number that no other statement has.
    pub(super) fn take(&self) -> Numbered {
        let idle = self.lock().pop();
        idle.unwrap_or_else(|| Numbered {
            client: rand::random(),
            sequence: 1,
        })
    }

    /// Gives a number back, once its statement is over.
    pub(super) fn give_back(&self, taken: Numbered) {
        self.lock().push(Numbered {
            sequence: taken.sequence + 1,
            ..taken
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Numbered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_at_one_place_have_different_numbers_and_a_retry_has_the_same() {
        let numbers = || {
            let numbering = Numbering::of_statement(Numbered::by_client("shop", 7));
            let places = [Place::Shard(0), Place::Catalog, Place::Shard(0)];
            places.map(|place| numbering.next(place))
        };
        let [first, elsewhere, second] = numbers();
        assert_eq!(first, elsewhere);
        assert_ne!(first, second);
        assert_eq!(numbers(), [first, elsewhere, second]);
        assert_ne!(
            Numbered::by_client("shop", 7),
            Numbered::by_client("shop", 8)
        );
    }

    #[test]
    fn a_stream_has_one_statement_at_a_time() {
        let streams = Streams::default();
        let (one, other) = (streams.take(), streams.take());
        assert_ne!(one.client, other.client);
        streams.give_back(one);
        let next = streams.take();
        assert_eq!((next.client, next.sequence), (one.client, one.sequence + 1));
    }
}
