//! What a shard remembers of a write: what it was answered, and where its key is.
//!
//! ```text
//! 0, outcome                 it has several keys, or none that is known
//! 1, position (8), outcome   the position of its key, the highest byte first
//! ```
//! The shards that follow a shard share what it remembers: a write with one key belongs to the shard that owns it now, and any other one to
//! all of them, of which the first tells what it did.

use shardwright_hashing::Position;

use crate::gateway::{outcome_elsewhere, outcome_of_both};

const MANY: u8 = 0;
const ONE: u8 = 1;

/// Returns what is remembered of a write.
pub(super) fn remember(positions: &[Position], outcome: &[u8]) -> Vec<u8> {
    let mut remembered = Vec::with_capacity(outcome.len() + 9);
    match positions {
        [Position(at)] => {
            remembered.push(ONE);
            remembered.extend_from_slice(&at.to_be_bytes());
        }
        _ => remembered.push(MANY),
    }
    remembered.extend_from_slice(outcome);
    remembered
}

/// Returns what a write was answered of which this is remembered.
pub(super) fn outcome_of(mut remembered: Vec<u8>) -> Vec<u8> {
    let (_, outcome) = split(&remembered);
    let start = remembered.len() - outcome.len();
    remembered.drain(..start);
    remembered
}

/// Returns what one of the shards remembers of a write that follow the one that made it; `None` if that is for another one. One of them
/// `tells` of writes with several keys.
pub(super) fn share(
    remembered: &[u8],
    owns: impl Fn(Position) -> bool,
    tells: bool,
) -> Option<Vec<u8>> {
    match split(remembered) {
        (Some(position), _) => owns(position).then(|| remembered.to_vec()),
        (None, _) if tells => Some(remembered.to_vec()),
        (None, outcome) => Some(remember(&[], &outcome_elsewhere(outcome))),
    }
}

/// Returns what is remembered of a write that two shards have made which become one.
pub(super) fn both(one: &[u8], other: &[u8]) -> Vec<u8> {
    let (one, other) = (split(one).1, split(other).1);
    remember(&[], &outcome_of_both(one, other))
}

fn split(remembered: &[u8]) -> (Option<Position>, &[u8]) {
    match remembered {
        [MANY, outcome @ ..] => (None, outcome),
        [ONE, rest @ ..] => match rest.split_first_chunk() {
            Some((at, outcome)) => (Some(Position(u64::from_be_bytes(*at))), outcome),
            None => (None, &[]),
        },
        _ => (None, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_shared_by_the_position_of_its_key() {
        let outcome = b"outcome".to_vec();
        let one = remember(&[Position(7)], &outcome);
        let many = remember(&[Position(7), Position(8)], &outcome);
        for remembered in [&one, &many] {
            assert_eq!(outcome_of(remembered.clone()), outcome);
        }
        assert_eq!(
            share(&one, |at| at == Position(7), false),
            Some(one.clone())
        );
        assert_eq!(share(&one, |at| at != Position(7), true), None);
        for tells in [true, false] {
            // No outcome of a statement: it stays as it is.
            assert_eq!(share(&many, |_| false, tells), Some(many.clone()));
        }
        assert!(outcome_of(Vec::new()).is_empty());
    }
}
