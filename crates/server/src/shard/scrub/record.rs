//! What a record says that compares copies.
//!
//! ```text
//! version (1), parts, [judged: record (8), digest (32)], [slice: rows (4), place (the rest; none for the first slice)]
//! ```
//! Numbers are little-endian. `parts` has bit 0 for a judgement, bit 1 for a slice, bit 2 for the place of it.

use shardwright_store::{Error as StoreError, ReplicaError, ScrubPlace};
use shardwright_topology::Lsn;

/// The version of the records, and of how slices are cut and digested: copies that cut otherwise are not compared.
const VERSION: u8 = 1;

const JUDGED: u8 = 1;
const SLICE: u8 = 2;
const PLACE: u8 = 4;

/// One record of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// What was right in the slice before.
    pub(super) judged: Option<Judged>,
    /// What is compared next.
    pub(super) slice: Option<Slice>,
}

/// What most copies held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    /// The record of the slice.
    pub(super) lsn: Lsn,
    /// What is right.
    pub(super) right: [u8; 32],
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    /// Where it begins.
    pub(super) from: Option<ScrubPlace>,
    /// How many rows it has, at most.
    pub(super) rows: u32,
}

impl Slice {
    pub(super) fn first(rows: u32) -> Self {
        Self { from: None, rows }
    }

    pub(super) fn after(from: ScrubPlace, rows: u32) -> Self {
        let from = Some(from);
        Self { from, rows }
    }
}

impl Step {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, 0];
        if let Some(Judged { lsn, right }) = self.judged {
            bytes[1] |= JUDGED;
            bytes.extend(lsn.0.to_le_bytes());
            bytes.extend(right);
        }
        if let Some(Slice { from, rows }) = &self.slice {
            bytes[1] |= SLICE;
            bytes.extend(rows.to_le_bytes());
            if let Some(place) = from {
                bytes[1] |= PLACE;
                bytes.extend(place.to_bytes());
            }
        }
        bytes
    }

    /// Reads a record. `None` if another release wrote it, which compares otherwise.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Option<Self>, StoreError> {
        let (version, rest) = bytes.split_first().ok_or_else(damaged)?;
        if *version != VERSION {
            return Ok(None);
        }
        let (parts, mut rest) = rest.split_first().ok_or_else(damaged)?;
        let judged = (parts & JUDGED != 0).then(|| {
            let lsn = Lsn(u64::from_le_bytes(take(&mut rest)?));
            let right = take(&mut rest)?;
            Ok::<_, StoreError>(Judged { lsn, right })
        });
        let slice = (parts & SLICE != 0).then(|| {
            let rows = u32::from_le_bytes(take(&mut rest)?);
            let from = (parts & PLACE != 0).then(|| ScrubPlace::from_bytes(rest));
            let from = from.transpose()?;
            Ok::<_, StoreError>(Slice { from, rows })
        });
        Ok(Some(Self {
            judged: judged.transpose()?,
            slice: slice.transpose()?,
        }))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StoreError> {
    let (taken, left) = rest.split_first_chunk().ok_or_else(damaged)?;
    *rest = left;
    Ok(*taken)
}

fn damaged() -> StoreError {
    ReplicaError::Damaged {
        reason: "it is no comparison of copies",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_as_it_was_written() {
        let place = ScrubPlace::from_bytes(b"\x05users\x00").expect("a place");
        let right = Judged {
            lsn: Lsn(7),
            right: [9; 32],
        };
        for judged in [None, Some(right)] {
            for slice in [
                None,
                Some(Slice::first(100)),
                Some(Slice::after(place.clone(), 3)),
            ] {
                let step = Step {
                    judged,
                    slice: slice.clone(),
                };
                let bytes = step.to_bytes();
                let read = Step::from_bytes(&bytes).expect("it is whole");
                assert_eq!(read, Some(step));
                if bytes[1] != 0 {
                    assert!(Step::from_bytes(&bytes[..bytes.len() - 1]).is_err());
                }
            }
        }
    }

    #[test]
    fn what_another_release_compares_is_left_alone() {
        assert_eq!(Step::from_bytes(&[2, 255]).expect("a version"), None);
        assert!(Step::from_bytes(&[]).is_err());
    }
}
