//! What a member shows of its log to whoever compares it with another one.

use super::{Durable, Fault, Replica, some_after};
use crate::log::{Answer, FenceAck, Point};

impl Replica {
    pub(in crate::log) fn fence_ack(&self) -> FenceAck {
        let Durable {
            log, known_commit, ..
        } = &self.durable;
        let committed = log.point(*known_commit).unwrap_or(log.base());
        FenceAck {
            last: log.last(),
            epoch_table: log.epoch_table().clone(),
            base: log.base(),
            known_commit: *known_commit,
            highest_active_epoch_seen: committed.epoch.max(self.seen_active),
            gave_way: self.gave_way,
            clean: self.durable.clean,
        }
    }

    pub(super) fn fetch(&self, after: Point) -> Answer {
        let log = &self.durable.log;
        if log.point(after.lsn) != Some(after) {
            return Answer::NeedSnapshot;
        }
        Answer::Fetched {
            prev: after,
            records: some_after(log, after.lsn),
        }
    }

    /// Answers places of the sender's log that do not fit. If one of them stands against what is committed here, one of both was lost,
    /// and this is not the copy that counts.
    pub(super) fn differs(&mut self, places: impl IntoIterator<Item = Point>) -> Answer {
        let Durable {
            log, known_commit, ..
        } = &self.durable;
        let is_other = |place: &Point| match log.point(place.lsn) {
            Some(held) => held != *place,
            // Epochs never fall along a log: what comes before the begin of this one is of no later epoch.
            None => place.lsn < log.base().lsn && place.epoch > log.base().epoch,
        };
        let mut committed = places
            .into_iter()
            .filter(|place| place.lsn <= *known_commit);
        let Some(other) = committed.find(is_other) else {
            return self.diverged();
        };
        self.fail(Fault::Diverged(other.lsn));
        Answer::Faulty
    }

    pub(super) fn diverged(&self) -> Answer {
        let log = &self.durable.log;
        Answer::Diverged {
            epoch_table: log.epoch_table().clone(),
            base: log.base(),
            last: log.last(),
        }
    }
}
