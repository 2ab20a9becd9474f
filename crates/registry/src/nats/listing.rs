//! Listings: the last value of each key below a prefix, as of one revision.

use std::collections::BTreeMap;

use super::{
    Inner,
    api::Failure,
    deliveries::{Deliveries, Start},
    entry,
};
use crate::{Entry, Key, Listing, Prefix, Revision, StoreError};

impl Inner {
    pub(super) async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let mut patience = self.patience();
        loop {
            match self.try_list(prefix).await {
                Ok(listing) => return Ok(listing),
                Err(failure) => self.outlast(failure, &mut patience).await?,
            }
        }
    }

    /// Lists once.
    ///
    /// A consumer may run on a server that lags behind. So the leader is asked first for the last message below the prefix, and
    /// the listing is complete when the consumer has shown that one or a later one, and has none left.
    async fn try_list(&self, prefix: &Prefix) -> Result<Listing, Failure> {
        let api = &self.api;
        let old = || Failure::Unavailable("the servers answer with old values".to_owned());
        let (floor, floor_below) = {
            let written = self.written();
            (written.below(&Prefix::all()), written.below(prefix))
        };
        let stream_at = Revision(api.stream_info().await?.state.last_seq);
        let filter = api.layout.filter(prefix);
        let last = api.last(&filter).await?;
        let last_at = last.map_or(Revision(0), |held| held.revision);
        if stream_at < floor || last_at < floor_below {
            return Err(old());
        }
        if last_at == Revision(0) {
            return Ok(Listing {
                entries: Vec::new(),
                revision: stream_at,
            });
        }
        let heartbeat = self.options.heartbeat;
        let mut deliveries = Deliveries::start(api, &filter, Start::LastOfEach, heartbeat).await?;
        let gathered = self.gather(&mut deliveries, last_at).await;
        deliveries.stop().await;
        let (entries, reached) = gathered?;
        Ok(Listing {
            entries: entries.into_values().collect(),
            revision: stream_at.max(reached),
        })
    }

    /// Takes in messages until the last one is among them and none is left.
    async fn gather(
        &self,
        deliveries: &mut Deliveries,
        last_at: Revision,
    ) -> Result<(BTreeMap<Key, Entry>, Revision), Failure> {
        let mut entries = BTreeMap::new();
        loop {
            let delivery = deliveries.next().await?;
            let held = delivery.held;
            let reached = held.revision;
            if let Some(key) = self.api.layout.key(&held.subject) {
                match entry(&key, held) {
                    Some(entry) => entries.insert(key, entry),
                    None => entries.remove(&key),
                };
            }
            if delivery.pending == 0 && last_at <= reached {
                return Ok((entries, reached));
            }
        }
    }
}
