//! The numbers of writes: with them a write that is tried twice happens once.
//!
//! A statement has a client's name and the number of the statement. What it writes at one place after the other has that number there;
//! what it writes at the same place again has a name that follows from the client's. Each attempt counts anew, for the places of one layout:
//! shards that replace others know the writes of those under the same numbers.
//!
//! The names that the gateway gives itself are [streams](ClientId::stream), which shards forget in the order of their age.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use shardwright_quorum::log::ClientId;
use shardwright_sql::shards::{Place, StatementId};

use super::wire::Number;

/// Which statement of which client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Numbered {
    client: ClientId,
    sequence: u64,
}

impl Numbered {
    /// Returns the number of a statement that its client has numbered.
    pub(super) fn by_client(name: &str, sequence: u64) -> Self {
        Self {
            client: ClientId::named(name),
            sequence,
        }
    }

    /// Returns the first number of a stream that nobody else has.
    pub(super) fn of_stream() -> Self {
        Self {
            client: ClientId::stream(),
            sequence: 1,
        }
    }

    /// Returns the number that the engine and other gateways know the statement by.
    pub(super) fn id(self) -> StatementId {
        StatementId {
            client: self.client.0,
            sequence: self.sequence,
        }
    }

    /// Returns the number of the writes that follow `count` others of the statement at a place.
    pub(super) fn after(self, count: u32) -> Number {
        let client = match count {
            0 => self.client,
            _ => self.client.derived(count),
        };
        Number {
            client: client.0,
            sequence: self.sequence,
            position: None,
        }
    }
}

impl From<StatementId> for Numbered {
    fn from(StatementId { client, sequence }: StatementId) -> Self {
        Self {
            client: ClientId(client),
            sequence,
        }
    }
}

/// Gives numbers to writes.
#[derive(Debug)]
pub(super) enum Numbering {
    /// Those of a statement: its writes are counted for each place.
    Statement(Numbered, Mutex<BTreeMap<Place, u32>>),
    /// Each write for itself.
    Calls,
}

impl Numbering {
    pub(super) fn of_statement(statement: Numbered) -> Self {
        Self::Statement(statement, Mutex::default())
    }

    /// Returns the statement whose writes these are, if they are of one.
    pub(super) fn statement(&self) -> Option<Numbered> {
        match self {
            Self::Statement(statement, _) => Some(*statement),
            Self::Calls => None,
        }
    }

    /// Returns the number of the next writes at a place, as that of the part of a commit over several shards. It is used again if nothing comes
    /// of the commit.
    pub(super) fn of_part(&self, place: Place) -> Number {
        match self {
            Self::Statement(statement, counts) => {
                let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                statement.after(counts.get(&place).copied().unwrap_or(0))
            }
            Self::Calls => self.next(place),
        }
    }

    /// Takes in that a part is made.
    pub(super) fn made_part(&self, place: Place) {
        if let Self::Statement(_, counts) = self {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(place).or_default() += 1;
        }
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
            // A client of its own each: one that was quiet for long would have been forgotten.
            Self::Calls => Number {
                client: ClientId::generate().0,
                sequence: 1,
                position: None,
            },
        }
    }
}

/// The gateway's own names, for the statements of clients that have none. Each has one statement at a time: so of each, only the last
/// outcome is ever asked for and kept, however many statements there are at once.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Vec<Numbered>>);

impl Streams {
    /// Takes a number that no other statement has.
    pub(super) fn take(&self) -> Numbered {
        let idle = self.lock().pop();
        idle.unwrap_or_else(Numbered::of_stream)
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
    use shardwright_store::{is_name, is_stream};

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
        assert!(is_stream(&one.client.0) && !is_name(&one.client.0));
        let further = one.after(1).client;
        assert!(is_stream(&further) && is_name(&further));
        let of_client = Numbered::by_client("shop", 7).after(1).client;
        assert!(!is_stream(&of_client) && is_name(&of_client));
        streams.give_back(one);
        let next = streams.take();
        assert_eq!((next.client, next.sequence), (one.client, one.sequence + 1));
    }
}
