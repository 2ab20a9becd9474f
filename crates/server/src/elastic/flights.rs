//! Questions whose answer takes a while: whoever asks the same meanwhile waits for the same answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use super::wire::{self, Answer, Request};

/// The questions that are being answered. Clones are the same.
///
/// A coordinator asks again when no answer comes in time, and so does the next one. The rows of a large shard are read once all the same, as long
/// as somebody waits for that.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Vec<u8>, WeakShared<Flight>>>>);

type Flight = BoxFuture<'static, Answer>;

impl Flights {
    /// Answers a question, with what is found for another one that is the same, if that is under way.
    pub(super) async fn join(&self, request: &Request, answer: impl FnOnce() -> Flight) -> Answer {
        let question = wire::encode(request);
        self.flight(question, answer).await
    }

    fn flight(&self, question: Vec<u8>, answer: impl FnOnce() -> Flight) -> Shared<Flight> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.upgrade().is_some());
        let flying = flights.get(&question).and_then(WeakShared::upgrade);
        // What is known already may be old by now.
        if let Some(flying) = flying.filter(|flying| flying.peek().is_none()) {
            return flying;
        }
        let begun = answer().shared();
        if let Some(flight) = begun.downgrade() {
            flights.insert(question, flight);
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use shardwright_coordinator::rebalancer::PartitionId;
    use shardwright_topology::{KeyRange, Lsn, ShardId};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::elastic::wire::{Ask, Said};

    fn about(shard: u32) -> Request {
        Request {
            shard: PartitionId::from(ShardId::numbered(shard)),
            ask: Ask::Digest {
                range: KeyRange::ALL,
            },
        }
    }

    #[tokio::test]
    async fn the_same_question_is_answered_once_at_a_time() {
        let (flights, asked) = (Flights::default(), Arc::new(AtomicU32::new(0)));
        let goes_on = Arc::new(Semaphore::new(0));
        let answer = || {
            let (asked, goes_on) = (Arc::clone(&asked), Arc::clone(&goes_on));
            async move {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                goes_on.acquire().await.expect("it is open").forget();
                Ok(Said::Position(Lsn(u64::from(number))))
            }
            .boxed()
        };
        let number = |answer: Answer| match answer {
            Ok(Said::Position(at)) => at.0,
            other => panic!("{other:?}"),
        };
        let ask = async |shard| number(flights.join(&about(shard), answer).await);
        let all_have_asked = async {
            tokio::task::yield_now().await;
            goes_on.add_permits(2);
        };
        let (one, same, other, ()) = tokio::join!(ask(0), ask(0), ask(1), all_have_asked);
        assert_eq!((one, same, other), (0, 0, 1));
        goes_on.add_permits(1);
        assert_eq!(ask(0).await, 2, "a later one is answered anew");
    }
}
