//! Of each statement, one try at a time.
//!
//! A client, or another gateway, that has lost the answer to a statement may send it again while it still runs. The try that comes second
//! waits, and finds what the first has done.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::numbers::Numbered;

/// The statements that run.
#[derive(Debug, Default)]
pub(super) struct Tries {
    running: Mutex<HashSet<Numbered>>,
    ended: Notify,
}

/// The right to run a statement.
#[derive(Debug)]
pub(super) struct Alone<'t> {
    tries: &'t Tries,
    statement: Numbered,
}

impl Tries {
    /// Waits until no other try of a statement runs.
    pub(super) async fn alone(&self, statement: Numbered) -> Alone<'_> {
        loop {
            // Made before it is looked, so that no end is missed.
            let ended = self.ended.notified();
            if self.lock().insert(statement) {
                return Alone {
                    tries: self,
                    statement,
                };
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Numbered>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.tries.lock().remove(&self.statement);
        self.tries.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_second_try_waits_for_the_first_and_another_statement_does_not() {
        let tries = Tries::default();
        let statement = |sequence| Numbered::by_client("shop", sequence);
        let first = tries.alone(statement(1)).await;
        let mut second = Box::pin(tries.alone(statement(1)));
        assert!((&mut second).now_or_never().is_none());
        let _other = tries.alone(statement(2)).await;
        drop(first);
        let _second = second.await;
        assert!(tries.alone(statement(1)).now_or_never().is_none());
    }
}
