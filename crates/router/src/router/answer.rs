//! Answers: what a node does with a request from another.

use shardwright_topology::{Epoch, ShardId};

use super::Router;
use crate::{Call, Error, Guard, Refusal, Request, Response, clock::Deadline, measure};

impl Router {
    /// Answers a request that a transport received.
    ///
    /// The method runs only at the epoch that the request names: with an earlier one the caller is told the current one, and
    /// with a later one this node first waits a little to hear of it.
    ///
    /// # Errors
    /// [`Refusal`], which the transport carries to the caller.
    pub async fn answer(&self, request: Request) -> Response {
        let deadline = Deadline::after(request.timeout);
        self.answer_by(request, deadline).await
    }

    /// Answers a request whose caller waits until `deadline`, whatever time the request itself gives.
    pub(crate) async fn answer_by(&self, request: Request, deadline: Deadline) -> Response {
        let Request {
            shard,
            epoch,
            method,
            payload,
            ..
        } = request;
        let admitted = self.admit(&shard, epoch, deadline).await;
        // Only what the owner of the shard does not have is an unknown method: another node sends the caller to the owner.
        let handler = self.inner.handlers.find(&method);
        let outcome = match (admitted, &handler) {
            (Err(refusal), _) => Err(refusal),
            (Ok(_), None) => Err(Refusal::UnknownMethod),
            (Ok(guard), Some(handler)) => {
                let call = Call::new(payload, guard, deadline);
                match deadline.limit(handler.run(call)).await {
                    None => Err(Refusal::DeadlinePassed { began: true }),
                    Some(outcome) => outcome.map_err(|message| Refusal::HandlerFailed { message }),
                }
            }
        };
        let label = match &outcome {
            Ok(_) => "ok",
            Err(Refusal::HandlerFailed { .. }) => "failed",
            Err(_) => "refused",
        };
        let name = handler.as_ref().map_or("unknown", |handler| &*handler.name);
        measure::answered(&shard, name, label);
        outcome
    }

    /// Returns a guard at the epoch of a request, and waits for news if the request has newer ones.
    async fn admit(
        &self,
        shard: &ShardId,
        presented: Epoch,
        deadline: Deadline,
    ) -> Result<Guard, Refusal> {
        if deadline.has_passed() {
            return Err(Refusal::DeadlinePassed { began: false });
        }
        let news = deadline.within(self.inner.settings.news_wait);
        let mut asked = false;
        loop {
            let (version, known) = self.known_epoch(shard);
            if presented <= known || news.has_passed() {
                return self.admit_at(shard, presented, known);
            }
            if !asked {
                self.refresh(shard);
                asked = true;
            }
            let mut versions = self.inner.version.subscribe();
            // The router holds the sender, so the wait does not fail.
            let _ = news
                .limit(versions.wait_for(|current| *current > version))
                .await;
        }
    }

    /// Returns the latest epoch of a shard that this node has heard of, and the version of the table that says so.
    fn known_epoch(&self, shard: &ShardId) -> (u64, Epoch) {
        let table = self.inner.table.load();
        let placed = table
            .routes
            .owner(shard)
            .map_or(Epoch::UNASSIGNED, |owner| owner.1);
        let gate = table.gates.get(shard).map(|gate| gate.state().epoch);
        (table.version, gate.unwrap_or_default().max(placed))
    }

    fn admit_at(&self, shard: &ShardId, presented: Epoch, known: Epoch) -> Result<Guard, Refusal> {
        match self.guard(shard) {
            Ok(guard) if guard.epoch() == presented => Ok(guard),
            Ok(guard) if presented < guard.epoch() => Err(Refusal::StaleEpoch {
                current: guard.epoch(),
            }),
            Ok(guard) => Err(Refusal::Behind {
                current: guard.epoch(),
            }),
            Err(_) if known < presented && known != Epoch::UNASSIGNED => {
                Err(Refusal::Behind { current: known })
            }
            Err(error) => Err(self.refusal_of(shard, error)),
        }
    }

    fn refusal_of(&self, shard: &ShardId, error: Error) -> Refusal {
        let table = self.inner.table.load();
        match error {
            Error::CutOver { epoch, .. } => Refusal::CutOver { epoch },
            Error::NotServing { epoch, .. } => Refusal::NotServing { epoch },
            Error::UnknownShard { .. } => Refusal::UnknownShard,
            _ => {
                let (owner, epoch) = table.routes.owner(shard).unwrap_or_default();
                let owner = owner.cloned();
                Refusal::NotPrimary { owner, epoch }
            }
        }
    }
}
