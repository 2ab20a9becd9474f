//! Announcements: every place hears of a change before that is written down.
//!
//! What is written down is finished by whoever comes next, even if the engine that began it is lost. So nothing may
//! happen meanwhile that a place would refuse it for. From the announcement on, until the change is committed there or
//! withdrawn, a place takes no writes but those of the change; what was found in its open transactions stays true.
//!
//! Announcements have numbers. A place keeps twice the number of the last one that it knows to be over, or one less
//! while it stands: so none comes to life again that arrives late. An announcement without anything written down is of
//! a change that was refused, or whose writer is lost. And a change that is found written down after its announcement
//! was withdrawn, because it was on its way to the registry for too long, never happens.

use std::ops::ControlFlow;

use parking_lot::{Mutex, MutexGuard};
use shardwright_store::Value;

use super::{ShardedDatabase, journal::Operation};
use crate::{
    error::Error,
    shards::{ANNOUNCED_KEY, BROADCAST_KEY, Call, FaultKind, Place},
};

const MARK: &str = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)
    ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value < excluded.value";

const END: &str = "INSERT INTO main._meta(key, value) VALUES (?1, 0)
    ON CONFLICT(key) DO UPDATE SET value = value + value % 2 RETURNING value";

const LOOK: &str = "SELECT key, value FROM main._meta WHERE key IN (?1, ?2)";

/// What an engine knows of announcements.
#[derive(Debug, Default)]
pub(super) struct Announcements(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The number of the last one; `None` while one may stand that is to be ended.
    last: Option<u64>,
    /// Whether this engine has left one so.
    is_left: bool,
}

impl Announcements {
    /// Says that places have to be asked, as an engine must that becomes the writer.
    pub(super) fn forget(&self) {
        self.lock().last = None;
    }

    /// Says that something may stand that is to be finished or withdrawn.
    pub(super) fn leave(&self) {
        *self.lock() = Known {
            last: None,
            is_left: true,
        };
    }

    fn is_known(&self) -> bool {
        self.lock().last.is_some()
    }

    fn next(&self) -> u64 {
        let mut known = self.lock();
        let next = known.last.unwrap_or(0) + 1;
        known.last = Some(next);
        next
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock()
    }
}

/// What a place keeps while an announcement stands.
fn standing(number: u64) -> i64 {
    ended(number) - 1
}

/// What a place keeps of an announcement that is over.
pub(super) fn ended(number: u64) -> i64 {
    i64::try_from(number.saturating_mul(2)).unwrap_or(i64::MAX)
}

impl ShardedDatabase {
    /// Whether this engine has left a change that is to be finished at some place, or to be withdrawn there; until then
    /// places may refuse writes, with [`FaultKind::SchemaChanged`]. [`ShardedDatabase::take_over`] does what is left, and
    /// so does the next change.
    #[must_use]
    pub fn has_unfinished(&self) -> bool {
        self.announcements().lock().is_left
    }

    pub(super) fn announcements(&self) -> &Announcements {
        &self.inner.shared.announcements
    }

    /// Withdraws whatever stands at a place, unless it is known that nothing does. The caller has the right to reach
    /// every place, and has finished what is written down.
    pub(super) fn settle_announcements(&self) -> Result<(), Error> {
        if self.announcements().is_known() {
            return Ok(());
        }
        let places = &self.inner.places;
        let mut last = 0;
        if !places.is_exclusive() {
            for place in places.all() {
                let key = [Value::from(ANNOUNCED_KEY)];
                let ran = places.write(place, &[Call::new(END, &key)])?;
                let rows = ran.first().map(|ran| &*ran.rows).unwrap_or_default();
                let kept = rows.first().and_then(|row| row[0].as_i64());
                last = last.max(kept.unwrap_or(0).unsigned_abs() / 2);
            }
        }
        *self.announcements().lock() = Known {
            last: Some(last),
            is_left: false,
        };
        Ok(())
    }

    /// Announces a change at every place, or at none, and returns the number; 0 where that needs no announcement.
    pub(super) fn announce(&self) -> Result<u64, Error> {
        let places = &self.inner.places;
        if places.is_exclusive() {
            return Ok(0);
        }
        let number = self.announcements().next();
        for (before, place) in places.all().enumerate() {
            let (error, reached) = match self.mark(place, standing(number)) {
                Ok(true) => continue,
                Ok(false) => {
                    self.announcements().leave();
                    let message = "another engine writes: it has announced a later change";
                    (self.fault(FaultKind::NotWriter, message), before)
                }
                Err(error) => {
                    let may_stand = usize::from(is_indeterminate(&error));
                    (error, before + may_stand)
                }
            };
            self.withdraw_at(number, places.all().take(reached));
            return Err(error);
        }
        Ok(number)
    }

    /// Withdraws the announcement of a change that is not written down. Where that fails, it is tried again later.
    pub(super) fn withdraw(&self, operation: &Operation) {
        if operation.announced > 0 {
            self.withdraw_at(operation.announced, self.inner.places.all());
        }
    }

    fn withdraw_at(&self, number: u64, places: impl Iterator<Item = Place>) {
        for place in places {
            if self.mark(place, ended(number)).is_err() {
                self.announcements().leave();
            }
        }
    }

    /// Keeps a number at a place, and returns whether it is later than the one there.
    fn mark(&self, place: Place, number: i64) -> Result<bool, Error> {
        let values = [Value::from(ANNOUNCED_KEY), Value::Integer(number)];
        let places = &self.inner.places;
        let ran = places.write(place, &[Call::new(MARK, &values)])?;
        Ok(ran.first().is_some_and(|ran| ran.outcome.changes > 0))
    }

    /// Whether an operation was withdrawn before it was found written down. Then no place has it, or ever will.
    pub(super) fn is_withdrawn(&self, operation: &Operation) -> Result<bool, Error> {
        if operation.announced == 0 {
            return Ok(false);
        }
        let keys = [ANNOUNCED_KEY, BROADCAST_KEY].map(Value::from);
        let places = &self.inner.places;
        for place in places.all() {
            let (mut announced, mut entered) = (0, 0);
            let _all = places.query(place, Call::new(LOOK, &keys), |row| {
                let kept = row.get(1).as_i64().unwrap_or(0);
                match row.get(0).as_str() {
                    Some(ANNOUNCED_KEY) => announced = kept,
                    _ => entered = kept.unsigned_abs(),
                }
                ControlFlow::<()>::Continue(())
            })?;
            if announced > standing(operation.announced) && entered < operation.number {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_indeterminate(error: &Error) -> bool {
    matches!(error, Error::Place { fault, .. } if fault.kind == FaultKind::Indeterminate)
}
