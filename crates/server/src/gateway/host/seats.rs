//! How much is read at once.
//!
//! A snapshot takes a thread and a connection as long as it is read. A statement that reads many shards keeps a snapshot of each until it
//! ends: if it waited for one while it has others, such statements could wait for one another. So it takes the seats for all copies of the
//! node with the first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many snapshots are read at once. Each takes a thread of those that may wait.
const SEATS: usize = 128;

/// The seats of a node.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    free: Arc<Semaphore>,
    /// Those of statements that read several shards.
    taken: Arc<Mutex<HashMap<u64, Weak<OwnedSemaphorePermit>>>>,
}

/// What lets one snapshot be read, as long as it is held.
pub(super) type Seat = Arc<OwnedSemaphorePermit>;

impl Default for Seats {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(SEATS)),
            taken: Arc::default(),
        }
    }
}

impl Seats {
    /// Waits for a seat. The first of a statement with a number waits for as many as there are `copies`, and its others for none.
    pub(super) async fn take(&self, statement: Option<u64>, copies: usize) -> Seat {
        let Some(statement) = statement else {
            return self.wait(1).await;
        };
        let taken = self.lock().get(&statement).and_then(Weak::upgrade);
        if let Some(taken) = taken {
            return taken;
        }
        let seat = self.wait(copies.clamp(1, SEATS)).await;
        let mut taken = self.lock();
        taken.retain(|_, seat| seat.strong_count() > 0);
        taken.insert(statement, Arc::downgrade(&seat));
        seat
    }

    async fn wait(&self, seats: usize) -> Seat {
        let seats = u32::try_from(seats).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.free).acquire_many_owned(seats).await;
        Arc::new(free.expect("it is never closed"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Weak<OwnedSemaphorePermit>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_statement_that_has_begun_waits_for_nobody() {
        let seats = Seats::default();
        let first = seats.take(Some(1), 8).await;
        let mut others = Vec::new();
        while let Some(other) = seats.take(None, 8).now_or_never() {
            others.push(other);
        }
        assert_eq!(others.len(), SEATS - 8);
        for _ in 1..8 {
            let further = seats.take(Some(1), 8).now_or_never();
            assert!(further.is_some(), "its places are taken for it");
        }
        assert!(seats.take(Some(2), 8).now_or_never().is_none());
        drop(first);
        assert!(seats.take(Some(2), 8).now_or_never().is_some());
    }
}
