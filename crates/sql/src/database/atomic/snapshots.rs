//! Snapshots of all places that show each commit everywhere or nowhere.

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use backon::{BlockingRetryable, ExponentialBuilder};
use shardwright_store::{Batch, Value};

use super::notes::{self, Notes};
use crate::{
    commit::{
        Party,
        cut::{self, Listing, Members},
    },
    database::{ReadLevel, ShardedDatabase},
    error::Error,
    shards::{Call, Fault, FaultKind, Fragment, Place, Shards},
};

impl ShardedDatabase {
    /// The places as one statement sees them, at that level.
    pub(in crate::database) fn snapshots_at(
        &self,
        level: ReadLevel,
    ) -> Result<Rc<dyn Shards>, Error> {
        match level {
            // A transaction holds what it reads.
            _ if self.within().is_some() => Ok(Arc::clone(&self.inner.places).snapshots()),
            ReadLevel::PerShard => Ok(Arc::clone(&self.inner.places).snapshots()),
            ReadLevel::Consistent => self.consistent_snapshots(),
        }
    }

    fn consistent_snapshots(&self) -> Result<Rc<dyn Shards>, Error> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_micros(100))
            .with_max_delay(Duration::from_millis(20))
            .with_jitter()
            .without_max_times()
            .with_total_delay(Some(self.limits().time));
        let taken = (|| self.comparable_snapshots())
            .retry(backoff)
            .when(|error| matches!(error, Untaken::Torn(_)))
            .call();
        taken.map_err(|untaken| match untaken {
            Untaken::Failed(error) => error,
            Untaken::Torn(torn) => self.fault(FaultKind::Busy, torn.to_string()),
        })
    }

    /// Takes a snapshot of every place, and compares what they list.
    fn comparable_snapshots(&self) -> Result<Rc<dyn Shards>, Untaken> {
        let places = &self.inner.places;
        let mut before = BTreeMap::new();
        for place in places.all() {
            let key = [Value::from(notes::COUNT)];
            let count = "SELECT value FROM main._meta WHERE key = ?1";
            let found =
                places.query_row(place, Call::new(count, &key), |row| row.get(0).as_i64())?;
            before.insert(place, found.flatten().map_or(0, i64::unsigned_abs));
        }
        let snapshots = Arc::clone(places).snapshots();
        let mut found = BTreeMap::new();
        for place in places.all() {
            found.insert(place, notes_in(&*snapshots, place)?);
        }
        match cut::check(&self.listings(&before, &found)) {
            Ok(()) => Ok(snapshots),
            Err(torn) => Err(Untaken::Torn(torn)),
        }
    }

    fn listings(
        &self,
        before: &BTreeMap<Place, u64>,
        found: &BTreeMap<Place, Notes>,
    ) -> BTreeMap<Party, Listing> {
        let name = |place: &Place| Party::new(self.inner.places.name(*place));
        let mut listings = BTreeMap::new();
        for (place, notes) in found {
            let applied = notes.applied.iter().map(|(id, note)| {
                let (first, all) = (note.first.clone(), note.members.clone());
                (*id, (note.number, Members { first, all }))
            });
            let mut listing = Listing {
                before: before.get(place).copied().unwrap_or(0),
                count: notes.count,
                applied: applied.collect(),
                prepared: BTreeMap::new(),
            };
            for (id, note) in &notes.prepared {
                listing.add_prepared(*id, note);
            }
            listings.insert(name(place), listing);
        }
        // What the first place has decided is prepared wherever it is not applied.
        for (id, decision) in found.values().flat_map(|notes| &notes.decided) {
            for party in decision.parts.keys() {
                if let Some(listing) = listings.get_mut(party)
                    && !listing.applied.contains_key(id)
                {
                    let (first, all) = (decision.first.clone(), decision.members.clone());
                    listing.prepared.insert(*id, Members { first, all });
                }
            }
        }
        listings
    }
}

/// Why there are no snapshots.
enum Untaken {
    /// They do not belong together.
    Torn(cut::Torn),
    Failed(Error),
}

impl From<Error> for Untaken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The notes of a place, as a snapshot shows them.
fn notes_in(snapshots: &dyn Shards, place: Place) -> Result<Notes, Error> {
    let mut source = snapshots.run(place, &Fragment::new(notes::ALL, Vec::new()))?;
    let (mut notes, mut batch) = (Notes::default(), Batch::new());
    while source.next_batch(&mut batch)? {
        for row in batch.rows() {
            let (key, value) = (row.get(0).to_value(), row.get(1).to_value());
            notes.add(&key, &value).map_err(|message| {
                Fault::new(FaultKind::UnknownFormat, message).at(snapshots.name(place))
            })?;
        }
    }
    Ok(notes)
}
