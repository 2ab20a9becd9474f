//! How writes are encoded: by postcard, in a form of its own, so that a change of the types in memory changes no file.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq};
use serde_bytes::Bytes;
use shardwright_hashing::Position;
use shardwright_topology::{Epoch, Lsn};

use crate::log::{Ballot, BatchMember, ClientId, Hash, Kind, Point, Record, Write};

/// Appends the encoding of writes to `out`, in place of what it holds.
pub(super) fn encode(out: &mut Vec<u8>, writes: &[Write]) -> Result<(), postcard::Error> {
    out.clear();
    let buffer = std::mem::take(out);
    *out = postcard::to_extend(&Each(writes, Out), buffer)?;
    Ok(())
}

/// Reads the encoding of writes.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Write>, postcard::Error> {
    let (stored, rest): (Vec<StoredWrite<'_>>, _) = postcard::take_from_bytes(bytes)?;
    if !rest.is_empty() {
        return Err(postcard::Error::DeserializeBadEncoding);
    }
    Ok(stored.into_iter().map(Into::into).collect())
}

/// A sequence whose items are encoded by a wrapper.
struct Each<'a, T, W>(&'a [T], fn(&'a T) -> W);

impl<T, W: Serialize> Serialize for Each<'_, T, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            sequence.serialize_element(&(self.1)(item))?;
        }
        sequence.end()
    }
}

/// Something to be encoded as its stored form.
struct Out<'a, T>(&'a T);

impl Serialize for Out<'_, Write> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Write {
            promised,
            base,
            truncate_after,
            records,
            trim,
            known_commit,
        } = self.0;
        let records = Each(records, Out);
        (promised, base, truncate_after, records, trim, known_commit).serialize(serializer)
    }
}

impl Serialize for Out<'_, Arc<Record>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record {
            lsn,
            epoch,
            prev_hash,
            hash,
            kind,
            members,
            payload,
        } = &**self.0;
        let (members, payload) = (Each(members, Out), Bytes::new(payload));
        (lsn, epoch, prev_hash, hash, kind, members, payload).serialize(serializer)
    }
}

impl Serialize for Out<'_, BatchMember> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let BatchMember {
            client,
            sequence,
            positions,
            outcome,
        } = self.0;
        let positions = Each(positions, |position| position.0);
        (client, sequence, positions, Bytes::new(outcome)).serialize(serializer)
    }
}

/// The fields in this order are the format.
#[derive(Deserialize)]
struct StoredWrite<'a> {
    promised: Option<Ballot>,
    base: Option<Point>,
    truncate_after: Option<Lsn>,
    #[serde(borrow)]
    records: Vec<StoredRecord<'a>>,
    trim: Option<Lsn>,
    known_commit: Lsn,
}

#[derive(Deserialize)]
struct StoredRecord<'a> {
    lsn: Lsn,
    epoch: Epoch,
    prev_hash: Hash,
    hash: Hash,
    kind: Kind,
    #[serde(borrow)]
    members: Vec<StoredMember<'a>>,
    #[serde(borrow)]
    payload: &'a Bytes,
}

#[derive(Deserialize)]
struct StoredMember<'a> {
    client: ClientId,
    sequence: u64,
    positions: Vec<u64>,
    #[serde(borrow)]
    outcome: &'a Bytes,
}

impl From<StoredWrite<'_>> for Write {
    fn from(stored: StoredWrite<'_>) -> Self {
        let records = stored.records.into_iter();
        Self {
            promised: stored.promised,
            base: stored.base,
            truncate_after: stored.truncate_after,
            records: records.map(|record| Arc::new(record.into())).collect(),
            trim: stored.trim,
            known_commit: stored.known_commit,
        }
    }
}

impl From<StoredRecord<'_>> for Record {
    fn from(stored: StoredRecord<'_>) -> Self {
        Self {
            lsn: stored.lsn,
            epoch: stored.epoch,
            prev_hash: stored.prev_hash,
            hash: stored.hash,
            kind: stored.kind,
            members: stored.members.into_iter().map(Into::into).collect(),
            payload: stored.payload.to_vec(),
        }
    }
}

impl From<StoredMember<'_>> for BatchMember {
    fn from(stored: StoredMember<'_>) -> Self {
        Self {
            client: stored.client,
            sequence: stored.sequence,
            positions: stored.positions.into_iter().map(Position).collect(),
            outcome: stored.outcome.to_vec(),
        }
    }
}
