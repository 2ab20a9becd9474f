//! What the statements of a write give, as much as may be kept of it, and what of that other shards keep.

use std::ops::ControlFlow;

use shardwright_sql::shards::{Fault, FaultKind, Fragment, Ran};
use shardwright_store::{Error as StoreError, Member, Row, ValueRef};

use crate::gateway::wire::{Refusal, decode, encode};

/// How many bytes the rows of RETURNING may have that one write gives, or one transaction.
const RETURNED_MAX: usize = 4 << 20;

/// How many bytes each value takes about, whatever it is.
const VALUE_BYTES: usize = 10;

/// How many bytes the rows that a write returns may still have: they are kept with the record, for a retry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(RETURNED_MAX)
    }
}

/// Runs a statement and keeps its rows; `None` if there is no room for them.
pub(super) fn run_one(
    member: &mut Member<'_>,
    fragment: &Fragment,
    room: &mut Room,
) -> Result<Option<Ran>, StoreError> {
    let mut has_room = true;
    let ran = Ran::of(|keep| {
        let kept = fragment.with_call(|call| {
            member.query(call.sql, call.params, |row| {
                let Some(left) = room.0.checked_sub(bytes_of(row)) else {
                    return ControlFlow::Break(());
                };
                room.0 = left;
                keep(row);
                ControlFlow::Continue(())
            })
        });
        kept.map(|(outcome, flow)| {
            has_room = flow.is_continue();
            outcome
        })
    })?;
    Ok(has_room.then_some(ran))
}

/// About how many bytes a row takes.
fn bytes_of(row: &Row<'_>) -> usize {
    let bytes = row.iter().map(|value| match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
    });
    row.len() * VALUE_BYTES + bytes.sum::<usize>()
}

pub(super) fn too_much_returned() -> Refusal {
    let message = format!("the rows that the write returns take more than {RETURNED_MAX} bytes");
    Refusal::Fault {
        fault: Fault::new(FaultKind::TooLarge, message),
        ended: true,
    }
}

/// Why what a transaction reads of its own rows is not given. The transaction goes on.
pub(super) fn too_much_read() -> Refusal {
    let message = format!(
        "the rows of a shard that the transaction has changed take more than {RETURNED_MAX} bytes"
    );
    Refusal::Fault {
        fault: Fault::new(FaultKind::TooLarge, message),
        ended: false,
    }
}

/// Returns what a shard has to remember of a write of the shard that it replaces, if another one remembers what it did: that it was made,
/// without rows and counts, so that whoever asks both counts it once. Bytes that are no outcome of a statement stay as they are.
pub(crate) fn outcome_elsewhere(outcome: &[u8]) -> Vec<u8> {
    match decode::<Vec<Ran>>(outcome) {
        Some(ran) => {
            let elsewhere = ran.into_iter().map(Ran::into_elsewhere);
            encode(&elsewhere.collect::<Vec<_>>())
        }
        None => outcome.to_vec(),
    }
}

/// Returns what a shard has to remember of a write that two of the shards have made which it replaces, each with its rows: what both did.
/// Of bytes that are no outcomes of a statement, the first stay.
pub(crate) fn outcome_of_both(one: &[u8], other: &[u8]) -> Vec<u8> {
    match (decode::<Vec<Ran>>(one), decode::<Vec<Ran>>(other)) {
        (Some(mut ran), Some(more)) => {
            ran.extend(more);
            encode(&ran)
        }
        (None, Some(_)) => other.to_vec(),
        (_, None) => one.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use shardwright_sql::{Outcome, Value};

    use super::*;

    fn ran(changes: u64, row: i64) -> Ran {
        Ran {
            outcome: Outcome {
                changes,
                last_insert_rowid: Some(0),
            },
            rows: vec![vec![Value::from(row)]],
        }
    }

    #[test]
    fn what_another_shard_tells_has_neither_rows_nor_counts() {
        let outcome = encode(&vec![ran(2, 7), ran(0, 8)]);
        let kept: Vec<Ran> = decode(&outcome_elsewhere(&outcome)).expect("an outcome");
        assert_eq!(kept, [Ran::default(), Ran::default()]);
        assert!(kept.iter().all(Ran::is_elsewhere));
        assert!(!ran(0, 8).is_elsewhere());
        let again = encode(&kept);
        assert_eq!(outcome_elsewhere(&again), again);
    }

    #[test]
    fn what_is_no_outcome_of_a_statement_stays() {
        for bytes in [&b""[..], b"any bytes", &7_i64.to_be_bytes()] {
            assert_eq!(outcome_elsewhere(bytes), bytes);
            let outcome = encode(&vec![ran(1, 1)]);
            assert_eq!(outcome_of_both(bytes, &outcome), outcome);
            assert_eq!(outcome_of_both(&outcome, bytes), outcome);
            assert_eq!(outcome_of_both(bytes, b"others"), bytes);
        }
    }

    #[test]
    fn what_two_shards_did_counts_together() {
        let (one, other) = (encode(&vec![ran(1, 1)]), encode(&vec![ran(2, 2)]));
        let both: Vec<Ran> = decode(&outcome_of_both(&one, &other)).expect("an outcome");
        assert_eq!(both, [ran(1, 1), ran(2, 2)]);
    }
}
