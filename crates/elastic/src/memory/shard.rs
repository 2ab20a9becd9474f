//! One shard in memory.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    time::Duration,
};

use shardwright_topology::{Lsn, OperationId, Position, ShardId, Timestamp};

use crate::{
    Batch, Changes, Cut, Digest, DigestAt, Extent, Import, Pace, Page, Row, RowChange,
    ShardMetrics, StoreError,
};

/// How long writers are held back unless that is renewed.
const PACED_FOR: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub(super) struct HeldShard {
    extent: Extent,
    rows: BTreeMap<Vec<u8>, StoredRow>,
    bytes: u64,
    position: Lsn,
    pub(super) state: State,
    /// The operation that created it.
    pub(super) made_by: Option<OperationId>,
    /// The changes after the lowest position that a follower needs.
    log: VecDeque<RowChange>,
    trimmed: Lsn,
    /// Who follows, since when, and what each has applied everywhere.
    followers: BTreeMap<OperationId, (Lsn, Lsn)>,
    pace: Option<(OperationId, Pace, Timestamp)>,
    /// The operations that have let go of it.
    ended: BTreeSet<OperationId>,
}

#[derive(Debug, Clone)]
pub(super) struct StoredRow {
    value: Vec<u8>,
    at: Position,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    Serving,
    Importing {
        operation: OperationId,
        imports: BTreeMap<ShardId, Import>,
    },
    Sealed {
        by: OperationId,
    },
}

pub(super) fn not_held(shard: &ShardId, operation: &OperationId) -> StoreError {
    StoreError::NotHeld {
        shard: shard.clone(),
        operation: operation.clone(),
    }
}

impl HeldShard {
    pub(super) fn new(extent: Extent, state: State) -> Self {
        Self {
            extent,
            rows: BTreeMap::new(),
            bytes: 0,
            position: Lsn::default(),
            state,
            made_by: None,
            log: VecDeque::new(),
            trimmed: Lsn::default(),
            followers: BTreeMap::new(),
            pace: None,
            ended: BTreeSet::new(),
        }
    }

    pub(super) fn importing(extent: Extent, operation: OperationId) -> Self {
        let state = State::Importing {
            operation: operation.clone(),
            imports: BTreeMap::new(),
        };
        Self {
            made_by: Some(operation),
            ..Self::new(extent, state)
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let rows = self.rows.iter();
        rows.map(|(key, row)| (key.as_slice(), row.value.as_slice()))
    }

    /// Returns whether it has exactly the given rows, of which no two have one key.
    pub(super) fn has_rows<'a>(
        &self,
        mut rows: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> bool {
        rows.len() == self.rows.len()
            && rows.all(|(key, value)| self.rows.get(key).is_some_and(|row| row.value == value))
    }

    pub(super) fn get(&self, shard: &ShardId, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        let shard = || shard.clone();
        if matches!(self.state, State::Importing { .. }) {
            return Err(StoreError::Importing { shard: shard() });
        }
        if !self.extent.contains(key) {
            return Err(StoreError::Foreign { shard: shard() });
        }
        Ok(self.rows.get(key).map(|row| row.value.as_slice()))
    }

    pub(super) fn write(
        &mut self,
        now: Timestamp,
        shard: &ShardId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Lsn, StoreError> {
        let refused = || shard.clone();
        let at = Position::of(key);
        if !self.extent.holds(key, at) {
            return Err(StoreError::Foreign { shard: refused() });
        }
        self.admit(now, shard, 0)?;
        self.record(key, at, value);
        Ok(self.position)
    }

    /// Says whether a write may begin when `pending` others were not recorded yet.
    pub(super) fn admit(
        &self,
        now: Timestamp,
        shard: &ShardId,
        pending: usize,
    ) -> Result<(), StoreError> {
        let shard = shard.clone();
        match &self.state {
            State::Importing { .. } => Err(StoreError::Importing { shard }),
            State::Sealed { .. } => Err(StoreError::Sealed { shard }),
            State::Serving if self.is_too_far_ahead(now, pending) => {
                Err(StoreError::Busy { shard })
            }
            State::Serving => Ok(()),
        }
    }

    /// Changes a row, whatever the state is.
    pub(super) fn record(&mut self, key: &[u8], at: Position, value: Option<&[u8]>) {
        self.position = Lsn(self.position.0 + 1);
        if !self.followers.is_empty() {
            self.log.push_back(RowChange {
                position: self.position,
                key: key.to_vec(),
                value: value.map(<[u8]>::to_vec),
            });
        }
        self.put(key.to_vec(), at, value.map(<[u8]>::to_vec));
    }

    pub(super) fn position(&self) -> Lsn {
        self.position
    }

    pub(super) fn extent(&self) -> &Extent {
        &self.extent
    }

    pub(super) fn is_followed(&self) -> bool {
        !self.followers.is_empty()
    }

    /// Drops the rows, which are elsewhere.
    pub(super) fn forget_rows(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }

    fn is_too_far_ahead(&self, now: Timestamp, pending: usize) -> bool {
        self.pace.as_ref().is_some_and(|(_, pace, until)| {
            let ahead = self.position.0.saturating_sub(pace.acknowledged.0) + pending as u64;
            now < *until && pace.ahead.is_some_and(|most| ahead >= most)
        })
    }

    pub(super) fn put(&mut self, key: Vec<u8>, at: Position, value: Option<Vec<u8>>) {
        let size = |key: &[u8], value: &[u8]| (key.len() + value.len()) as u64;
        let before = match value {
            Some(value) => {
                self.bytes += size(&key, &value);
                let length = key.len();
                let before = self.rows.insert(key, StoredRow { value, at });
                before.map(|row| (length + row.value.len()) as u64)
            }
            None => self.rows.remove(&key).map(|row| size(&key, &row.value)),
        };
        self.bytes -= before.unwrap_or(0);
    }

    pub(super) fn follow(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<Lsn, StoreError> {
        self.check_not_ended(operation, shard)?;
        if matches!(self.state, State::Importing { .. }) {
            let shard = shard.clone();
            return Err(StoreError::Importing { shard });
        }
        if self.followers.is_empty() {
            self.log.clear();
            self.trimmed = self.position;
        }
        let now = (self.position, self.position);
        Ok(self.followers.entry(operation.clone()).or_insert(now).0)
    }

    fn check_not_ended(&self, operation: &OperationId, shard: &ShardId) -> Result<(), StoreError> {
        if self.ended.contains(operation) {
            let (shard, operation) = (shard.clone(), operation.clone());
            return Err(StoreError::Ended { shard, operation });
        }
        Ok(())
    }

    pub(super) fn scan(&self, extent: &Extent, after: Option<Vec<u8>>, batch: Batch) -> Page {
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = Vec::new();
        let (mut bytes, mut next) = (0, None);
        let mut left = self
            .rows
            .range::<[u8], _>((from, Bound::Unbounded))
            .peekable();
        while let Some((key, row)) = left.next() {
            if extent.holds(key, row.at) {
                bytes += key.len() + row.value.len();
                let (key, value) = (key.clone(), row.value.clone());
                let at = Some(row.at);
                rows.push(Row { key, value, at });
            }
            if rows.len() >= batch.rows.max(1) || bytes >= batch.bytes {
                next = left.peek().map(|_| key.clone());
                break;
            }
        }
        Page {
            after,
            rows,
            next,
            position: self.position,
        }
    }

    pub(super) fn changes(
        &self,
        shard: &ShardId,
        extent: &Extent,
        after: Lsn,
        up_to: Option<Lsn>,
        batch: Batch,
    ) -> Result<Changes, StoreError> {
        if after < self.trimmed || (self.followers.is_empty() && after < self.position) {
            let shard = shard.clone();
            return Err(StoreError::Trimmed { shard, after });
        }
        let last = up_to.map_or(self.position, |up_to| up_to.min(self.position));
        let first = self.log.partition_point(|change| change.position <= after);
        let (mut changes, mut bytes, mut through) = (Vec::new(), 0, last.max(after));
        for change in self.log.range(first..) {
            if change.position > last {
                break;
            }
            if extent.contains(&change.key) {
                bytes += change.key.len() + change.value.as_ref().map_or(0, Vec::len);
                changes.push(change.clone());
            }
            if changes.len() >= batch.rows.max(1) || bytes >= batch.bytes {
                through = change.position;
                break;
            }
        }
        Ok(Changes {
            after,
            changes,
            through,
            head: self.position,
        })
    }

    pub(super) fn digest(&self, extent: &Extent) -> DigestAt {
        let rows = self.rows.iter();
        let digest = rows
            .filter(|(key, row)| extent.holds(key, row.at))
            .map(|(key, row)| Digest::of(key, &row.value))
            .fold(Digest::default(), Digest::and);
        DigestAt {
            position: self.position,
            digest,
            counts_all: true,
        }
    }

    pub(super) fn pace(
        &mut self,
        now: Timestamp,
        operation: &OperationId,
        shard: &ShardId,
        pace: Pace,
    ) -> Result<(), StoreError> {
        self.check_not_ended(operation, shard)?;
        let Some((_, applied)) = self.followers.get_mut(operation) else {
            return Err(not_held(shard, operation));
        };
        *applied = (*applied).max(pace.acknowledged);
        self.pace = pace
            .ahead
            .is_some()
            .then(|| (operation.clone(), pace, now + PACED_FOR));
        let needed = self.followers.values().map(|(_, applied)| *applied).min();
        if let Some(needed) = needed.filter(|needed| *needed > self.trimmed) {
            let gone = self.log.partition_point(|change| change.position <= needed);
            self.log.drain(..gone);
            self.trimmed = needed;
        }
        Ok(())
    }

    pub(super) fn seal(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<Lsn, StoreError> {
        self.check_not_ended(operation, shard)?;
        let sealed = match &self.state {
            State::Serving => self.followers.contains_key(operation),
            State::Sealed { by } => by == operation,
            State::Importing { .. } => false,
        };
        if !sealed {
            return Err(not_held(shard, operation));
        }
        self.state = State::Sealed {
            by: operation.clone(),
        };
        Ok(self.position)
    }

    pub(super) fn release(&mut self, operation: &OperationId) {
        self.ended.insert(operation.clone());
        self.followers.remove(operation);
        self.pace.take_if(|(by, _, _)| by == operation);
        if self.followers.is_empty() {
            self.log.clear();
            self.trimmed = self.position;
        }
        if matches!(&self.state, State::Sealed { by } if by == operation) {
            self.state = State::Serving;
        }
    }

    pub(super) fn open(
        &mut self,
        operation: &OperationId,
        shard: &ShardId,
    ) -> Result<(), StoreError> {
        if self.made_by.as_ref() != Some(operation) {
            return Err(not_held(shard, operation));
        }
        if matches!(self.state, State::Importing { .. }) {
            self.state = State::Serving;
        }
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a part of the memory is an estimate"
    )]
    pub(super) fn metrics(&self) -> ShardMetrics {
        ShardMetrics {
            memory_usage: self.bytes as f64 / MEMORY,
            storage_bytes: self.bytes,
            key_count: self.rows.len(),
            ..ShardMetrics::default()
        }
    }

    pub(super) fn median(&self) -> Option<Cut> {
        let cut = |(key, row): (&Vec<u8>, &StoredRow)| match &self.extent {
            Extent::Positions { .. } => Cut::Position { at: row.at },
            Extent::Keys { .. } | Extent::Bucket { .. } => Cut::Key { at: key.clone() },
        };
        self.extent.median_cut(self.rows.iter().map(cut).collect())
    }
}

/// What a shard's part of the memory is measured against: 16 GiB.
const MEMORY: f64 = 17_179_869_184.0;
