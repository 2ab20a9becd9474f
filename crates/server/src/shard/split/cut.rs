//! The cut: where a source is divided.

use std::time::Duration;

use shardwright_quorum::log::{
    Kind, Level,
    shard_log::{AppendError, Entry},
};
use shardwright_topology::{Lsn, OperationId, ShardId};

use super::{BaseState, Cut, SplitBase, Take};
use crate::shard::Shard;

/// How long the records since are kept if nobody reads them.
pub(super) const HOLDING: Duration = Duration::from_secs(300);

/// Why a record of a split is not known to be in the log.
pub(crate) type CutError = AppendError;

impl Shard {
    /// Has all copies keep aside what they hold, and returns at which record. This copy has to be the primary.
    ///
    /// # Errors
    /// What the log says. A cut that was made all the same does no harm.
    pub(crate) async fn cut(&self, cut: Cut, within: Duration) -> Result<Lsn, CutError> {
        let entry = Entry::new(Kind::Cut, SplitBase::Cut(cut).to_bytes());
        let at = self.append_alone(entry, within).await?;
        // A log that has stopped keeps what it has.
        let _held = self.log.hold(at, HOLDING).await;
        Ok(at)
    }

    /// Has all copies of this shard begin with what they have kept aside. This copy has to be the primary.
    ///
    /// # Errors
    /// What the log says: it may be in the log.
    pub(crate) async fn begin_with(&self, take: Take, within: Duration) -> Result<Lsn, CutError> {
        let entry = Entry::new(Kind::SplitBase, SplitBase::Take(take).to_bytes());
        self.append_alone(entry, within).await
    }

    /// Returns how far this copy is with what it keeps aside for another shard.
    pub(crate) fn base(&self, operation: &OperationId, target: &ShardId) -> BaseState {
        self.data.bases().state(self.data.home(), operation, target)
    }

    /// Appends a record between two transactions, and waits until this copy has applied it.
    pub(super) async fn append_alone(
        &self,
        entry: Entry,
        within: Duration,
    ) -> Result<Lsn, AppendError> {
        let appended = {
            let _turn = self.turn.lock().await;
            self.log.append(entry, Level::Quorum, within).await?
        };
        let mut places = self.data.places();
        let lsn = appended.lsn;
        let applied = places.wait_for(|place| place.is_some_and(|place| place.lsn >= lsn));
        match tokio::time::timeout(within, applied).await {
            Ok(Ok(_)) => Ok(lsn),
            _ => Err(AppendError::Indeterminate),
        }
    }
}
