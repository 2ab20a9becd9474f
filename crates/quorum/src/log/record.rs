//! Records: what a log consists of.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shardwright_hashing::Position;
use shardwright_topology::{Epoch, Lsn};
use uuid::{NoContext, Timestamp, Uuid};

use super::Hash;
use crate::clock;

/// What a record does. The numbers are a format: they enter the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// Writes of clients, applied in one transaction.
    Batch = 1,
    /// The first record of an epoch.
    Epoch = 2,
    /// A change of the schema.
    Ddl = 3,
    /// The first half of a commit over several shards.
    Prepare = 4,
    /// The second half of a commit over several shards.
    Resolve = 5,
    /// The end of writes to a range that moves away.
    Seal = 6,
    /// The begin of writes to a range that has moved here.
    Open = 7,
    /// The end of stored outcomes of clients.
    Expire = 8,
    /// What a shard begins with that comes from a split: something that its first copies hold already. A copy that comes later has no
    /// use for the record, and gets a snapshot.
    SplitBase = 9,
    /// A place at which the copies are compared. It changes nothing.
    Compare = 10,
    /// A place whose content the copies keep aside, for shards that a split makes. It changes nothing.
    Cut = 11,
}

/// The stream of writes that a client numbers. For how long its outcomes are kept is for the data to say, and may depend on the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub [u8; 16]);

/// What the id of a stream begins with.
const STREAM: u8 = 0xff;

/// The bit of an id that is a name.
const NAME: u8 = 0x80;

impl ClientId {
    /// Returns an id that nobody else has. Those made later are greater, as UUIDs of version 7 are, which lets shards forget old ones.
    #[must_use]
    pub fn generate() -> Self {
        let since = clock::since_1970();
        let time = Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos());
        Self(Uuid::new_v7(time).into_bytes())
    }

    /// Returns an id that nobody else has, of a client that has one write at a time: of those, only the last outcome is kept.
    #[must_use]
    pub fn stream() -> Self {
        Self::of_stream(Self::generate().0)
    }

    /// Returns the id of a client by its name that has one write at a time: of those, only the last outcome is kept.
    #[must_use]
    pub fn stream_named(name: &str) -> Self {
        Self::of_stream(Self::named(name).0)
    }

    /// Returns the id of a client by its name. It has no order: a shard that forgets it takes it for a new one when it returns.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::of_hash(Sha256::new_with_prefix(b"client\0").chain_update(name))
    }

    /// Returns an id that follows from this one and a number, and is a stream if this is one: for further writes of the same request.
    #[must_use]
    pub fn derived(self, number: u32) -> Self {
        let hash = Sha256::new_with_prefix(self.0).chain_update(number.to_be_bytes());
        let name = Self::of_hash(hash);
        match self.0[0] {
            STREAM => Self::of_stream(name.0),
            _ => name,
        }
    }

    fn of_hash(hash: Sha256) -> Self {
        let hash = hash.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        id[0] = (id[0] | NAME).min(STREAM - 1);
        Self(id)
    }

    /// Marks an id as that of a stream, at the cost of its last byte.
    fn of_stream(id: [u8; 16]) -> Self {
        let mut stream = [STREAM; 16];
        stream[1..].copy_from_slice(&id[..15]);
        Self(stream)
    }
}

/// The write of one client within a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMember {
    /// Whose write it is.
    pub client: ClientId,
    /// Which of the client's writes; a retry has the same.
    pub sequence: u64,
    /// Where its keys are, so that a split knows which side it belongs to.
    pub positions: Vec<Position>,
    /// What the client was, or will be, answered.
    #[serde(with = "serde_bytes")]
    pub outcome: Vec<u8>,
}

/// A place in a log, and by its hash everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Point {
    /// The epoch of the record there.
    pub epoch: Epoch,
    /// Its number, 0 in front of the first record.
    pub lsn: Lsn,
    /// Its hash.
    pub hash: Hash,
}

impl Point {
    /// Returns what a recovering primary compares logs by: the higher one holds every committed record.
    #[must_use]
    pub fn rank(&self) -> (Epoch, Lsn) {
        (self.epoch, self.lsn)
    }
}

/// One record of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub lsn: Lsn,
    /// The epoch whose primary created it.
    pub epoch: Epoch,
    /// The hash of the record before it.
    pub prev_hash: Hash,
    /// Its own hash, over everything else in it.
    pub hash: Hash,
    /// What it does.
    pub kind: Kind,
    /// The writes in it; none unless it is a batch.
    pub members: Vec<BatchMember>,
    /// Its content, as `kind` says.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

impl Record {
    /// Returns the record that follows `prev`.
    #[must_use]
    pub fn after(
        prev: Point,
        epoch: Epoch,
        kind: Kind,
        members: Vec<BatchMember>,
        payload: Vec<u8>,
    ) -> Self {
        let mut record = Self {
            lsn: prev.lsn.next(),
            epoch,
            prev_hash: prev.hash,
            hash: Hash::EMPTY,
            kind,
            members,
            payload,
        };
        record.hash = record.compute_hash();
        record
    }

    /// Returns the place of the record.
    #[must_use]
    pub fn point(&self) -> Point {
        Point {
            epoch: self.epoch,
            lsn: self.lsn,
            hash: self.hash,
        }
    }

    /// Returns about how many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        let member = |member: &BatchMember| 64 + member.positions.len() * 8 + member.outcome.len();
        128 + self.payload.len() + self.members.iter().map(member).sum::<usize>()
    }

    /// Returns whether the record is what its hash says.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.hash == self.compute_hash()
    }

    fn compute_hash(&self) -> Hash {
        let mut sha = Sha256::new();
        sha.update(self.prev_hash.0);
        sha.update(self.lsn.0.to_be_bytes());
        sha.update(self.epoch.0.to_be_bytes());
        sha.update([self.kind as u8]);
        sha.update((self.members.len() as u64).to_be_bytes());
        for member in &self.members {
            sha.update(member.client.0);
            sha.update(member.sequence.to_be_bytes());
            sha.update((member.positions.len() as u64).to_be_bytes());
            for position in &member.positions {
                sha.update(position.0.to_be_bytes());
            }
            // A length in front of every text, so that no two records hash the same bytes.
            sha.update((member.outcome.len() as u64).to_be_bytes());
            sha.update(&member.outcome);
        }
        sha.update((self.payload.len() as u64).to_be_bytes());
        sha.update(&self.payload);
        Hash(sha.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_apart_from_ids_that_grow() {
        let (before, after) = (ClientId::generate(), ClientId::generate());
        assert_ne!(before, after);
        assert!(before.0[..6] <= after.0[..6]);
        assert!(after < ClientId::named("shop"));
        assert_ne!(ClientId::named("shop"), ClientId::named("shop").derived(1));
    }

    #[test]
    fn streams_are_apart_from_all_others() {
        let (before, after) = (ClientId::stream(), ClientId::stream());
        assert_ne!(before, after);
        assert!(before.0[..7] <= after.0[..7]);
        assert!(ClientId::named("shop").derived(1) < before);
        assert!(
            after < before.derived(1),
            "what follows from a stream is a stream"
        );
    }

    #[test]
    fn every_field_enters_the_hash() {
        let member = BatchMember {
            client: ClientId([1; 16]),
            sequence: 1,
            positions: vec![Position(1)],
            outcome: vec![1],
        };
        let record = Record::after(
            Point::default(),
            Epoch(1),
            Kind::Batch,
            vec![member],
            vec![1],
        );
        assert!(record.is_intact());
        let changes: [fn(&mut Record); 9] = [
            |record| record.lsn = Lsn(2),
            |record| record.epoch = Epoch(2),
            |record| record.prev_hash = Hash([1; 32]),
            |record| record.kind = Kind::Ddl,
            |record| record.payload.push(0),
            |record| record.members[0].client = ClientId([2; 16]),
            |record| record.members[0].sequence = 2,
            |record| record.members[0].positions = vec![Position(2)],
            |record| record.members[0].outcome = vec![2],
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = record.clone();
            change(&mut changed);
            assert!(!changed.is_intact(), "change {number} kept the hash");
        }
    }
}
