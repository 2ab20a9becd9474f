//! What the statements of a write give, as much as may be kept of it.

use std::ops::ControlFlow;

use shardwright_sql::shards::{Fault, FaultKind, Fragment, Ran};
use shardwright_store::{Error as StoreError, Member, Row, ValueRef};

use crate::gateway::wire::Refusal;

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
