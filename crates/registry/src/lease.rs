//! Leases: one holder at a time, judged by what each process observes on its own monotonic clock.
//!
//! No wall clock takes part. A watcher that has seen no change of a lease for the time-out may take it over; the holder stops
//! acting earlier than that, counted from before it sent its last successful renewal. The renewal reaches the watcher after it was
//! sent, so the holder has stopped when the watcher acts, however long anything took, as long as the two clocks run at nearly the same
//! rate.
//!
//! A lease decides who tries. What counts is decided by compare-and-set and by epochs: a holder whose clock is wrong does
//! no harm to data.

mod holder;
mod name;
mod record;
mod watcher;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use shardwright_topology::{Incarnation, NodeId, Timestamp};

pub use self::{
    holder::Held,
    name::{node_lease, node_of_lease},
    watcher::{LeaseWatcher, Vacancy},
};
use crate::{Error, Prefix, Record, Records, Store, StoreError, Stored};

/// The process that holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Its node.
    pub node: NodeId,
    /// Which process of the node.
    pub incarnation: Incarnation,
}

/// A lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRecord {
    /// Who holds it, unless they have given it back.
    pub holder: Option<Holder>,
    /// Counts the holders: grows by one with each.
    pub term: u64,
    /// Counts the renewals of this term.
    pub counter: u64,
}

impl Record for LeaseRecord {
    const KIND: &'static str = "lease";
    const VERSION: u64 = 1;
}

/// How long watchers wait, and how long a holder acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    timeout: Duration,
    hold: Duration,
}

/// A holder must stop before watchers act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease held for {hold:?} does not end before watchers act after {timeout:?}")]
pub struct InvalidTiming {
    /// How long watchers wait.
    pub timeout: Duration,
    /// How long a holder acts.
    pub hold: Duration,
}

impl LeaseTiming {
    /// Lets watchers wait for `timeout`, and a holder act for `hold` after a renewal.
    ///
    /// The difference is what the rates of two clocks may be apart over one time-out; a tenth of it is ample.
    ///
    /// # Errors
    /// [`InvalidTiming`] unless 0 < `hold` < `timeout`.
    pub fn new(timeout: Duration, hold: Duration) -> Result<Self, InvalidTiming> {
        if Duration::ZERO < hold && hold < timeout {
            Ok(Self { timeout, hold })
        } else {
            Err(InvalidTiming { timeout, hold })
        }
    }

    /// Returns how long a watcher must have seen no change.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns how long after it sent its last successful renewal a holder acts.
    #[must_use]
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Returns how often a holder renews, so that two renewals may fail before it stops.
    #[must_use]
    pub fn renew_every(&self) -> Duration {
        self.hold / 3
    }
}

/// The leases of a store: `lease/<id>`, apart from the records that routers watch.
#[derive(Debug, Clone)]
pub struct Leases {
    records: Records<LeaseRecord>,
    timing: LeaseTiming,
}

impl Leases {
    /// Returns the leases of a store. All its users agree on the timing.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, timing: LeaseTiming) -> Self {
        let prefix = Prefix::new("lease/").expect("a valid prefix");
        Self {
            records: Records::new(store, prefix),
            timing,
        }
    }

    /// Returns the timing.
    #[must_use]
    pub fn timing(&self) -> LeaseTiming {
        self.timing
    }

    /// Returns the records of all leases, for [`LeaseWatcher::observe`].
    #[must_use]
    pub fn records(&self) -> &Records<LeaseRecord> {
        &self.records
    }

    /// Takes a lease that a watcher found vacant. `now` is read before the call.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if somebody else took it first, or its holder renewed it after all.
    pub async fn acquire(
        &self,
        id: &str,
        vacancy: &Vacancy,
        holder: Holder,
        now: Timestamp,
    ) -> Result<Held, Error> {
        let record = LeaseRecord::taken(vacancy.seen().map(|seen| &seen.value), holder);
        let stored = match vacancy.seen() {
            Some(seen) => self.records.replace(seen, record).await?,
            None => self.records.create(id, record).await?,
        };
        Ok(Held::new(stored, self.timing.hold, now))
    }

    /// Renews a lease. `now` is read before the call.
    ///
    /// Whatever the outcome, `held` says until when the holder may act: longer only after a success.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if somebody else has taken it: the holder must stop. After any other error it may try again
    /// for as long as it holds.
    pub async fn renew(&self, held: &mut Held, now: Timestamp) -> Result<(), Error> {
        let mine = held.stored().clone();
        let renewed = match self.records.replace(&mine, mine.value.renewed()).await {
            // A renewal that seemed to fail may have succeeded.
            Err(Error::Store(StoreError::Conflict { key, found })) => {
                let found = self.reread(&mine, key, found).await?;
                self.records.replace(&found, found.value.renewed()).await?
            }
            outcome => outcome?,
        };
        held.renewed(renewed, now);
        Ok(())
    }

    /// Returns what the lease holds now if it is still ours, and the conflict otherwise.
    async fn reread(
        &self,
        mine: &Stored<LeaseRecord>,
        key: crate::Key,
        found: Option<Box<crate::Entry>>,
    ) -> Result<Stored<LeaseRecord>, Error> {
        let current = self.records.get(key.last_name()).await?;
        let ours = |stored: &Stored<LeaseRecord>| {
            stored.value.holder == mine.value.holder && stored.value.term == mine.value.term
        };
        current
            .filter(ours)
            .ok_or(Error::Store(StoreError::Conflict { key, found }))
    }

    /// Gives a lease back, so that the next holder need not wait. Who has stopped acting calls this.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if somebody else has taken it, which does no harm.
    pub async fn release(&self, held: Held) -> Result<(), Error> {
        let mine = held.into_stored();
        self.records
            .replace(&mine, mine.value.released())
            .await
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests;
