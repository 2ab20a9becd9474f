//! The log of one copy: records that follow one another.

use std::{collections::VecDeque, sync::Arc};

use shardwright_topology::Lsn;

use super::{EpochTable, Kind, Point, Record};

/// Records without a gap, after a base that a snapshot stands for.
#[derive(Debug, Clone)]
pub struct Log {
    base: Point,
    records: VecDeque<Held>,
    /// The bytes of all records that were ever dropped at the begin.
    dropped: u64,
    /// Where each epoch ends, the base included.
    ends: EpochTable,
    /// The last record that only copies can follow which were there; 0 if there is none.
    bound: Lsn,
}

/// A record that is held.
#[derive(Debug, Clone)]
struct Held {
    record: Arc<Record>,
    /// The bytes of this record and of all before it, those included that were dropped at the begin.
    end: u64,
}

/// Logs are equal that hold the same records after the same base.
impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.records.iter(), other.records.iter());
        let theirs = theirs.map(|held| &held.record);
        let same_records = ours.map(|held| &held.record).eq(theirs);
        self.base == other.base && self.ends == other.ends && same_records
    }
}

impl Eq for Log {}

/// Records that do not follow the log. Nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAppended {
    /// A record's content is not what its hash says: it was damaged. Ask for it again.
    #[error("record {0} does not have the content that its hash was made of")]
    Damaged(Lsn),
    /// A record does not follow the one before it. Find the last common record first.
    #[error("record {0} does not follow the record before it")]
    Detached(Lsn),
}

impl Default for Log {
    fn default() -> Self {
        Self::from_base(Point::default())
    }
}

impl Log {
    /// Returns the log that begins after a snapshot at `base`.
    #[must_use]
    pub fn from_base(base: Point) -> Self {
        let mut ends = EpochTable::default();
        ends.reach(base);
        Self {
            base,
            records: VecDeque::new(),
            dropped: 0,
            ends,
            bound: Lsn(0),
        }
    }

    /// Returns whether a copy that has nothing may be given the records after `lsn`: none of them rests on what only the first copies hold.
    #[must_use]
    pub fn suffices_after(&self, lsn: Lsn) -> bool {
        self.bound <= lsn
    }

    /// Returns the place in front of the first record held.
    #[must_use]
    pub fn base(&self) -> Point {
        self.base
    }

    /// Returns the place of the last record.
    #[must_use]
    pub fn last(&self) -> Point {
        let last = self.records.back();
        last.map_or(self.base, |held| held.record.point())
    }

    /// Returns the place of the record with a number, or the base; none if it is not held.
    #[must_use]
    pub fn point(&self, lsn: Lsn) -> Option<Point> {
        if lsn == self.base.lsn {
            return Some(self.base);
        }
        self.get(lsn).map(|record| record.point())
    }

    /// Returns the record with a number.
    #[must_use]
    pub fn get(&self, lsn: Lsn) -> Option<&Arc<Record>> {
        let index = lsn.0.checked_sub(self.base.lsn.0)?.checked_sub(1)?;
        let held = self.records.get(usize::try_from(index).ok()?)?;
        Some(&held.record)
    }

    /// Returns the records after `lsn`; none at all if that place is not held.
    #[must_use]
    pub fn after(&self, lsn: Lsn) -> Option<impl Iterator<Item = &Arc<Record>>> {
        let index = lsn.0.checked_sub(self.base.lsn.0)?;
        let index = usize::try_from(index).ok()?;
        let held = (index <= self.records.len()).then(|| self.records.range(index..));
        held.map(|held| held.map(|held| &held.record))
    }

    /// Returns about how many bytes the records after `lsn` take, of those held.
    #[must_use]
    pub fn bytes_after(&self, lsn: Lsn) -> u64 {
        let index = lsn.0.saturating_sub(self.base.lsn.0);
        let before = usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1);
        let before = before.map_or(self.dropped, |last| self.end_of(last));
        self.end() - before
    }

    /// Returns the first place after which records of no more than about so many bytes are held.
    #[must_use]
    pub fn last_bytes(&self, bytes: u64) -> Lsn {
        let from = self.end().saturating_sub(bytes);
        if from <= self.dropped {
            return self.base.lsn;
        }
        let before = self.records.partition_point(|held| held.end < from);
        Lsn(self.base.lsn.0 + before as u64 + 1)
    }

    /// Where the bytes end of the record with an index, or of the last one.
    fn end_of(&self, index: usize) -> u64 {
        let held = self.records.get(index).or(self.records.back());
        held.map_or(self.dropped, |held| held.end)
    }

    fn end(&self) -> u64 {
        self.end_of(usize::MAX)
    }

    /// Checks that records are intact and follow one another after `prev`, and returns where they end.
    ///
    /// # Errors
    /// [`NotAppended`] with the first record that is damaged or does not follow.
    pub fn verify(prev: Point, records: &[Arc<Record>]) -> Result<Point, NotAppended> {
        let mut last = prev;
        for record in records {
            if !record.is_intact() {
                return Err(NotAppended::Damaged(record.lsn));
            }
            let follows = record.lsn == last.lsn.next() && record.prev_hash == last.hash;
            if !follows || record.epoch < last.epoch {
                return Err(NotAppended::Detached(record.lsn));
            }
            last = record.point();
        }
        Ok(last)
    }

    /// Appends records, all or none.
    ///
    /// # Errors
    /// [`NotAppended`] with the first record that is damaged or does not follow.
    pub fn extend(&mut self, records: &[Arc<Record>]) -> Result<(), NotAppended> {
        Self::verify(self.last(), records)?;
        self.extend_verified(records);
        Ok(())
    }

    /// Appends records of which it is known that they are intact and follow.
    pub(super) fn extend_verified(&mut self, records: &[Arc<Record>]) {
        for record in records {
            debug_assert_eq!(record.prev_hash, self.last().hash, "records follow");
            self.records.push_back(Held {
                record: Arc::clone(record),
                end: self.end() + record.size() as u64,
            });
            self.ends.reach(record.point());
            if record.kind == Kind::SplitBase {
                self.bound = record.lsn;
            }
        }
    }

    /// Drops the records after `lsn`.
    pub fn truncate_after(&mut self, lsn: Lsn) {
        let kept = lsn.0.saturating_sub(self.base.lsn.0);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        if kept < self.records.len() {
            self.records.truncate(kept);
            let last = self.last();
            self.ends.cut_after(last);
            if last.lsn < self.bound {
                let mut records = self.records.iter().rev().map(|held| &held.record);
                let bound = records.find(|record| record.kind == Kind::SplitBase);
                self.bound = bound.map_or(Lsn(0), |record| record.lsn);
            }
        }
    }

    /// Drops the records up to and with `lsn`, which a snapshot holds. Does nothing if that record is not held.
    pub fn trim(&mut self, lsn: Lsn) {
        if let Some(base) = self.point(lsn) {
            let dropped = usize::try_from(lsn.0 - self.base.lsn.0).unwrap_or(0);
            if let Some(last) = dropped.checked_sub(1) {
                self.dropped = self.end_of(last);
            }
            self.records.drain(..dropped);
            self.base = base;
            self.ends.cut_before(base.lsn);
            if self.records.is_empty() {
                self.ends.reach(base);
            }
        }
    }

    /// Returns where each epoch ends.
    #[must_use]
    pub fn epoch_table(&self) -> &EpochTable {
        &self.ends
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::Epoch;

    use super::*;

    /// A log of records with these epochs; the payload is `mark`.
    fn log(epochs: &[u64], mark: u8) -> Log {
        let mut log = Log::default();
        for epoch in epochs {
            let next = Record::after(log.last(), Epoch(*epoch), Kind::Batch, vec![], vec![mark]);
            log.extend(&[Arc::new(next)]).expect("it follows");
        }
        log
    }

    #[test]
    fn only_what_follows_is_appended() {
        let held = log(&[1, 2], 0);
        let next = Record::after(held.last(), Epoch(2), Kind::Batch, vec![], vec![]);
        let gap = Record::after(next.point(), Epoch(2), Kind::Batch, vec![], vec![]);
        let older = Record::after(held.last(), Epoch(1), Kind::Batch, vec![], vec![]);
        let other = Record::after(
            log(&[1, 2], 9).last(),
            Epoch(2),
            Kind::Batch,
            vec![],
            vec![],
        );
        for refused in [gap.clone(), older, other] {
            let mut log = held.clone();
            let error = log.extend(&[Arc::new(refused.clone())]);
            assert_eq!(error, Err(NotAppended::Detached(refused.lsn)));
            assert_eq!(log, held, "a refused record changes nothing");
        }
        let damaged = Record {
            payload: vec![7],
            ..gap
        };
        let mut log = held.clone();
        assert_eq!(
            log.extend(&[Arc::new(next), Arc::new(damaged)]),
            Err(NotAppended::Damaged(Lsn(4)))
        );
        assert_eq!(log, held, "all or none");
    }

    #[test]
    fn equal_numbers_with_other_contents_are_not_common() {
        let (ours, theirs) = (log(&[1, 1, 2], 0), log(&[1, 1, 2], 9));
        assert_eq!(
            theirs.epoch_table().last_common(&ours),
            Some(Point::default())
        );
        let mut shorter = ours.clone();
        shorter.truncate_after(Lsn(2));
        assert_eq!(shorter.epoch_table().last_common(&ours), ours.point(Lsn(2)));
    }

    #[test]
    fn the_bytes_of_the_last_records_are_known() {
        let mut held = log(&[1, 1, 1, 2, 2], 0);
        let one = held.bytes_after(Lsn(4));
        assert_eq!(held.bytes_after(Lsn(0)), 5 * one);
        for _ in 0..2 {
            let places = [0, one - 1, one, 2 * one, 2 * one + 1, 9 * one];
            let places = places.map(|bytes| held.last_bytes(bytes).0);
            let base = held.base().lsn.0;
            assert_eq!(places, [5, 5, 4, 3, 3, base]);
            assert_eq!(
                (held.bytes_after(Lsn(3)), held.bytes_after(Lsn(9))),
                (2 * one, 0)
            );
            held.trim(Lsn(2));
            assert_eq!(held.bytes_after(Lsn(0)), 3 * one, "of those held");
        }
        held.truncate_after(Lsn(4));
        assert_eq!(held.bytes_after(Lsn(2)), 2 * one);
        held.trim(Lsn(4));
        assert_eq!((held.bytes_after(Lsn(0)), held.last_bytes(0)), (0, Lsn(4)));
    }

    #[test]
    fn a_trimmed_log_keeps_its_chain() {
        let mut held = log(&[1, 1, 2], 0);
        let last = held.last();
        held.trim(Lsn(2));
        assert_eq!((held.base().lsn, held.last()), (Lsn(2), last));
        assert_eq!(
            (held.get(Lsn(2)), held.after(Lsn(1)).is_none()),
            (None, true)
        );
        assert_eq!(
            EpochTable::default().last_common(&held),
            None,
            "a snapshot is needed"
        );
    }
}
