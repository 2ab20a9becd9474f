//! What a copy held at the records that compared it last.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use shardwright_quorum::log::{Record, StateError};
use shardwright_store::{Error as StoreError, Scrub, ScrubSlice, ShardFile, Snapshot};
use shardwright_topology::Lsn;
use tokio::{sync::watch, time::timeout};

use super::record::{Judged, Slice, Step};
use crate::shard::convert::{fault_of, state_error};

/// How many records are remembered.
const KNOWN_MAX: usize = 8;

/// What a copy held.
#[derive(Debug, Clone)]
pub(in crate::shard) struct Held {
    known: Arc<Mutex<VecDeque<Known>>>,
    /// Told when something is known.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Known {
    lsn: Lsn,
    /// What was there, once it is known.
    slice: Option<Result<ScrubSlice, StoreError>>,
    /// What should have been there.
    right: Option<[u8; 32]>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            changed: watch::channel(()).0,
        }
    }
}

impl Held {
    /// Forgets everything: it was another file.
    pub(in crate::shard) fn forget(&self) {
        self.known().clear();
    }

    /// Takes in a record that was applied just now.
    ///
    /// # Errors
    /// [`StateError`] if this copy does not hold what it should, or cannot be read.
    pub(in crate::shard) fn compare(
        &self,
        record: &Record,
        file: &ShardFile,
    ) -> Result<(), StateError> {
        let Some(step) = Step::from_bytes(&record.payload).map_err(state_error)? else {
            return Ok(());
        };
        if let Some(Judged { lsn, right }) = step.judged {
            let mut known = self.known();
            for one in known.iter_mut().filter(|one| one.lsn == lsn) {
                one.right = Some(right);
            }
        }
        self.check()?;
        if let Some(slice) = step.slice {
            match file.snapshot_now() {
                Ok(snapshot) => self.begin(record.lsn, snapshot, slice),
                // Too many read: another time.
                Err(error) => return fault_of(&error).map_or(Ok(()), Err),
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), StateError> {
        for one in self.known().iter() {
            match (&one.slice, one.right) {
                (Some(Err(error)), _) => {
                    if let Some(fault) = fault_of(error) {
                        return Err(fault);
                    }
                }
                (Some(Ok(slice)), Some(right)) if *slice.digest.as_bytes() != right => {
                    metrics::counter!("shardwright_scrub_differences_total").increment(1);
                    let why = format!("at {} most copies hold something else", one.lsn);
                    return Err(StateError::Diverged(why.into()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Digests a slice, on a thread of its own: the log goes on.
    fn begin(&self, lsn: Lsn, snapshot: Snapshot, Slice { from, rows }: Slice) {
        {
            let mut known = self.known();
            // A record that is applied again after a start is digested again.
            known.retain(|one| one.lsn != lsn);
            if known.len() >= KNOWN_MAX {
                known.pop_front();
            }
            known.push_back(Known {
                lsn,
                slice: None,
                right: None,
            });
        }
        let held = self.clone();
        let digest = move || {
            let slice = Scrub::one_slice(snapshot, from.as_ref(), rows.into());
            if let Some(one) = held.known().iter_mut().find(|one| one.lsn == lsn) {
                one.slice = Some(slice);
            }
            held.changed.send_replace(());
        };
        if let Err(error) = thread::Builder::new()
            .name("scrub".to_owned())
            .spawn(digest)
        {
            tracing::warn!(%error, "a copy is not compared: there is no thread for it");
        }
    }

    /// Returns what this copy held; `None` if it is not known, or not yet.
    pub(in crate::shard) fn at(&self, lsn: Lsn) -> Option<ScrubSlice> {
        let known = self.known();
        let one = known.iter().find(|one| one.lsn == lsn)?;
        one.slice.as_ref()?.as_ref().ok().cloned()
    }

    /// Waits so long until it is known what this copy held.
    pub(super) async fn until_known(&self, lsn: Lsn, within: Duration) -> Option<ScrubSlice> {
        let mut changed = self.changed.subscribe();
        let known = async {
            loop {
                if let Some(slice) = self.at(lsn) {
                    return Some(slice);
                }
                changed.changed().await.ok()?;
            }
        };
        timeout(within, known).await.ok()?
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
