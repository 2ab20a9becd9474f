//! Attempts: one call, over all the requests that it takes.

use std::{mem::discriminant, sync::Arc, time::Duration};

use bytes::Bytes;
use shardwright_topology::{Backoff, Epoch, NodeId, ShardId};

use super::{Router, call::CallOptions};
use crate::{
    Call, Error, Outcome, Refusal, Route,
    clock::{self, Deadline},
    handler::{Handler, Repeat, invalid, is_method},
    measure::Measured,
    transport::{Peer, Request, TransportError},
};

/// The first wait before a request is repeated, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// What a call is aimed at. A tenant's shard is looked up again for each attempt, because it may be split meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    Shard(&'a ShardId),
    Tenant(&'a [u8]),
}

/// What is known after one attempt.
enum Step {
    Done(Result<Bytes, Error>),
    /// The attempt may be repeated.
    Again {
        error: Error,
        /// Where the node that was asked says that the shard is.
        hint: Option<Route>,
    },
}

/// What an attempt went by: as long as none of it changes, another one fares the same.
struct Tried {
    /// The route by the table.
    route: Route,
    /// What another node said, where that is newer.
    hint: Option<Route>,
    /// Where the node that is asked is reached, if it is another one.
    address: Option<Arc<str>>,
}

impl Tried {
    /// Returns the route that was taken.
    fn aim(&self) -> &Route {
        self.hint.as_ref().unwrap_or(&self.route)
    }
}

/// One call, over all its attempts.
pub(super) struct Attempts<'a> {
    router: &'a Router,
    target: Target<'a>,
    method: Arc<str>,
    /// This node's handler of the method, if it had one when the call began.
    handler: Option<Arc<Handler>>,
    payload: Bytes,
    deadline: Deadline,
    repeat: Repeat,
    /// Whether an earlier attempt may have run the method.
    may_have_run: bool,
    /// The shard that was tried last.
    shard: Option<ShardId>,
}

impl<'a> Attempts<'a> {
    /// Begins the time of a call, if a method can have that name.
    pub(super) fn begin(
        router: &'a Router,
        target: Target<'a>,
        method: &str,
        payload: Bytes,
        options: &CallOptions,
    ) -> Result<Self, Error> {
        let handler = router.inner.handlers.find(method);
        let known = handler.as_ref();
        if known.is_none() && !is_method(method) {
            return Err(invalid(method));
        }
        let is_safe = known.is_some_and(|handler| handler.repeat == Repeat::Safe);
        Ok(Self {
            router,
            target,
            method: known.map_or_else(|| method.into(), |handler| Arc::clone(&handler.name)),
            payload,
            deadline: Deadline::after(options.timeout.unwrap_or(router.inner.settings.timeout)),
            repeat: if options.idempotent || is_safe {
                Repeat::Safe
            } else {
                Repeat::Never
            },
            may_have_run: false,
            shard: None,
            handler,
        })
    }

    pub(super) async fn run(&mut self) -> Result<Bytes, Error> {
        let measured = Measured::begin(&self.method);
        let outcome = self.repeat().await.map_err(|error| self.last(error));
        let code = outcome.as_ref().map_or_else(Error::code, |_| "ok");
        measured.end(self.shard.as_ref(), code);
        outcome
    }

    async fn repeat(&mut self) -> Result<Bytes, Error> {
        let mut backoff = None;
        let mut hint: Option<Route> = None;
        loop {
            let (version, route) = self.route();
            let (step, tried) = match route {
                Ok(route) => {
                    let tried = self.aim(route, hint.take());
                    self.shard = Some(tried.aim().shard.clone());
                    (self.attempt(&tried).await, Some(tried))
                }
                Err(error @ (Error::NoMap | Error::NoOwner { .. })) => {
                    (Step::Again { error, hint: None }, None)
                }
                Err(error) => return Err(error),
            };
            let error = match step {
                Step::Done(outcome) => return outcome,
                Step::Again { error, hint: next } => {
                    hint = next;
                    error
                }
            };
            self.may_have_run |= error.outcome() == Outcome::Unknown;
            // An owner that is known better than the map knows it is asked at once, the first time.
            let at_once = hint.is_some() && backoff.is_none();
            let backoff =
                backoff.get_or_insert_with(|| Backoff::new(BACKOFF.0, BACKOFF.1, clock::seed()));
            if !at_once {
                let wait = backoff.next().unwrap_or(BACKOFF.1);
                self.wait(version, &error, tried.as_ref(), wait).await;
            }
            if self.deadline.has_passed() {
                return Err(error);
            }
        }
    }

    /// Returns the route by the table as it is, and the table's version.
    fn route(&self) -> (u64, Result<Route, Error>) {
        let table = self.router.inner.table.load();
        let route = match self.target {
            Target::Shard(shard) => table.routes.route(shard),
            Target::Tenant(tenant) => table
                .routes
                .of_tenant(tenant)
                .and_then(|shard| crate::route::route(shard.id(), shard.primary(), shard.epoch())),
        };
        (table.version, route)
    }

    /// Returns what the next attempt goes by: the route, or what another node said of it if that is newer.
    fn aim(&self, route: Route, hint: Option<Route>) -> Tried {
        let hint = hint.filter(|hint| hint.shard == route.shard && hint.epoch > route.epoch);
        let address = self.address(&hint.as_ref().unwrap_or(&route).owner);
        Tried {
            route,
            hint,
            address,
        }
    }

    /// Returns where another node is reached; there is no need to know it of this one.
    fn address(&self, node: &NodeId) -> Option<Arc<str>> {
        if node == self.router.node() {
            return None;
        }
        let table = self.router.inner.table.load();
        table.addresses.get(node).cloned()
    }

    /// Waits for a table later than `version` by which another attempt may fare better; also no longer than `wait`, unless only a
    /// change of the table helps.
    async fn wait(&self, version: u64, error: &Error, tried: Option<&Tried>, wait: Duration) {
        let deadline = match tried {
            None => self.deadline,
            Some(_) => self.deadline.within(wait),
        };
        let mut versions = self.router.inner.version.subscribe();
        let changed = async {
            let mut seen = version;
            // The router holds the sender, so the wait does not fail.
            while let Ok(current) = versions.wait_for(|current| *current > seen).await {
                seen = *current;
                drop(current);
                if self.may_fare_better(error, tried) {
                    return;
                }
            }
        };
        // When the time is over, it is tried as it is.
        let _ = deadline.limit(changed).await;
    }

    /// Returns whether what an attempt went by has changed since, so that it is no use to wait any longer.
    fn may_fare_better(&self, error: &Error, tried: Option<&Tried>) -> bool {
        let (_, route) = self.route();
        match (route, tried) {
            (Err(now), None) => discriminant(&now) != discriminant(error),
            (Ok(_), None) | (Err(_), Some(_)) => true,
            (Ok(route), Some(tried)) => {
                let aim = tried.aim();
                (route != tried.route && route != *aim)
                    || self.address(&aim.owner) != tried.address
                    || (aim.owner == *self.router.node() && self.router.is_shard_local(&aim.shard))
            }
        }
    }

    /// What the caller hears: an error of the last attempt does not hide that an earlier one may have run the method.
    fn last(&self, error: Error) -> Error {
        match &self.shard {
            Some(shard) if self.may_have_run && error.outcome() == Outcome::NotRun => {
                self.timed_out(shard, Outcome::Unknown)
            }
            Some(_) | None => error,
        }
    }

    fn timed_out(&self, shard: &ShardId, outcome: Outcome) -> Error {
        Error::TimedOut {
            shard: shard.clone(),
            method: self.method.as_ref().to_owned(),
            outcome,
        }
    }

    async fn attempt(&self, tried: &Tried) -> Step {
        let route = tried.aim();
        if self.deadline.has_passed() {
            let outcome = Outcome::NotRun;
            return Step::Done(Err(self.timed_out(&route.shard, outcome)));
        }
        if route.owner == *self.router.node() {
            return self.run_here(route).await;
        }
        self.ask(route, tried.address.as_deref()).await
    }

    /// Runs the handler of this node.
    async fn run_here(&self, route: &Route) -> Step {
        let guard = match self.router.guard(&route.shard) {
            Ok(guard) => guard,
            Err(error) if error.is_retryable() => return Step::Again { error, hint: None },
            // The table has changed since the route was taken from it.
            Err(Error::NotLocal { shard, .. }) => {
                let (epoch, hint) = (route.epoch, None);
                let error = Error::CutOver { shard, epoch };
                return Step::Again { error, hint };
            }
            Err(error) => return Step::Done(Err(error)),
        };
        let registered_since = || self.router.inner.handlers.find(&self.method);
        let Some(handler) = self.handler.clone().or_else(registered_since) else {
            return Step::Done(Err(Error::UnknownMethod {
                node: route.owner.clone(),
                method: self.method.as_ref().to_owned(),
            }));
        };
        let call = Call::new(self.payload.clone(), guard, self.deadline);
        Step::Done(match self.deadline.limit(handler.run(call)).await {
            None => Err(self.timed_out(&route.shard, Outcome::Unknown)),
            Some(Ok(answer)) => Ok(answer),
            Some(Err(message)) => Err(Error::HandlerFailed {
                shard: route.shard.clone(),
                method: self.method.as_ref().to_owned(),
                message,
            }),
        })
    }

    /// Asks the owner.
    async fn ask(&self, route: &Route, address: Option<&str>) -> Step {
        let node = &route.owner;
        let Some(address) = address else {
            let (error, hint) = (Error::UnknownNode { node: node.clone() }, None);
            return Step::Again { error, hint };
        };
        let request = Request {
            shard: route.shard.clone(),
            epoch: route.epoch,
            method: Arc::clone(&self.method),
            timeout: self.deadline.remaining(),
            payload: self.payload.clone(),
        };
        let sent = (self.router.inner.transport).call(Peer { node, address }, request);
        match self.deadline.limit(sent).await {
            None => Step::Done(Err(self.timed_out(&route.shard, Outcome::Unknown))),
            Some(Ok(Ok(answer))) => Step::Done(Ok(answer)),
            Some(Ok(Err(refusal))) => self.refused(route.clone(), refusal),
            Some(Err(TransportError::NotDelivered(source))) => {
                self.router.refresh(&route.shard);
                let error = Error::Unreachable {
                    shard: route.shard.clone(),
                    node: node.clone(),
                    source,
                };
                Step::Again { error, hint: None }
            }
            Some(Err(TransportError::Unknown(source))) => {
                let error = Error::Interrupted {
                    shard: route.shard.clone(),
                    method: self.method.as_ref().to_owned(),
                    source,
                };
                match self.repeat {
                    Repeat::Safe => Step::Again { error, hint: None },
                    Repeat::Never => Step::Done(Err(error)),
                }
            }
        }
    }

    /// What a refusal means for the call.
    fn refused(&self, route: Route, refusal: Refusal) -> Step {
        let Route {
            shard,
            owner: node,
            epoch: presented,
        } = route;
        let method = || self.method.as_ref().to_owned();
        let error = match refusal {
            Refusal::StaleEpoch { current } => return self.moved(shard, presented, node, current),
            Refusal::NotPrimary {
                owner: Some(owner),
                epoch,
            } if epoch > presented => return self.moved(shard, presented, owner, epoch),
            Refusal::NotPrimary { .. } | Refusal::Behind { .. } | Refusal::UnknownShard => {
                // The node has not heard of the epoch, or the epoch is over and nobody has heard of the next.
                self.router.refresh(&shard);
                let epoch = presented;
                let error = Error::NotServing { shard, epoch };
                return Step::Again { error, hint: None };
            }
            Refusal::CutOver { epoch } => {
                let error = Error::CutOver { shard, epoch };
                return Step::Again { error, hint: None };
            }
            Refusal::NotServing { epoch } => {
                self.router.refresh(&shard);
                let error = Error::NotServing { shard, epoch };
                return Step::Again { error, hint: None };
            }
            Refusal::Overloaded => {
                let error = Error::Overloaded { node };
                return Step::Again { error, hint: None };
            }
            Refusal::UnknownMethod => Error::UnknownMethod {
                node,
                method: method(),
            },
            Refusal::HandlerFailed { message } => Error::HandlerFailed {
                shard,
                method: method(),
                message,
            },
            Refusal::DeadlinePassed { began: true } => self.timed_out(&shard, Outcome::Unknown),
            Refusal::DeadlinePassed { began: false } => self.timed_out(&shard, Outcome::NotRun),
            Refusal::PayloadTooLarge { limit } => Error::PayloadTooLarge {
                size: self.payload.len(),
                limit,
            },
            Refusal::AnswerTooLarge { size, limit } => Error::AnswerTooLarge {
                method: method(),
                size,
                limit,
            },
            Refusal::NotAuthorized => Error::NotAuthorized { node },
            Refusal::Malformed { what } => Error::Incompatible { node, what },
        };
        Step::Done(Err(error))
    }

    /// The shard is at a later epoch than this router knows.
    fn moved(&self, shard: ShardId, presented: Epoch, owner: NodeId, current: Epoch) -> Step {
        self.router.refresh(&shard);
        let hint = Route {
            shard: shard.clone(),
            owner,
            epoch: current,
        };
        let error = Error::StaleEpoch {
            shard,
            current,
            presented,
        };
        let hint = Some(hint);
        Step::Again { error, hint }
    }
}
