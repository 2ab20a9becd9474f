//! The log of one copy: records that follow one another.

use std::{collections::VecDeque, sync::Arc};

use shardwright_topology::Lsn;

use super::{EpochTable, Point, Record};

/// Records without a gap, after a base that a snapshot stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    base: Point,
    records: VecDeque<Arc<Record>>,
    /// Where each epoch ends, the base included.
    ends: EpochTable,
}

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
        let records = VecDeque::new();
        Self {
            base,
            records,
            ends,
        }
    }

    /// Returns the place in front of the first record held.
    #[must_use]
    pub fn base(&self) -> Point {
        self.base
    }

    /// Returns the place of the last record.
    #[must_use]
    pub fn last(&self) -> Point {
        self.records.back().map_or(self.base, |last| last.point())
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
        self.records.get(usize::try_from(index).ok()?)
    }

    /// Returns the records after `lsn`; none at all if that place is not held.
    #[must_use]
    pub fn after(&self, lsn: Lsn) -> Option<impl Iterator<Item = &Arc<Record>>> {
        let index = lsn.0.checked_sub(self.base.lsn.0)?;
        let index = usize::try_from(index).ok()?;
        (index <= self.records.len()).then(|| self.records.range(index..))
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
            self.records.push_back(Arc::clone(record));
            self.ends.reach(record.point());
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
        }
    }

    /// Drops the records up to and with `lsn`, which a snapshot holds. Does nothing if that record is not held.
    pub fn trim(&mut self, lsn: Lsn) {
        if let Some(base) = self.point(lsn) {
            let dropped = lsn.0 - self.base.lsn.0;
            self.records.drain(..usize::try_from(dropped).unwrap_or(0));
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
    use crate::log::Kind;

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
