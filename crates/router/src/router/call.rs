//! Calls: a method of a shard, wherever its owner is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use shardwright_topology::{Backoff, Epoch, NodeId, ShardId};

use super::Router;
use crate::{
    Call, Error, Outcome, Refusal, Route,
    clock::{self, Deadline},
    handler::Repeat,
    measure::Measured,
    transport::{Peer, Request, TransportError},
};

/// The first wait before a request is repeated, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// How one call differs from the others of its router.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// How long it may take, waiting and repeating included. The router's settings say so by default.
    pub timeout: Option<Duration>,
    /// Whether the method may run twice as well as once: then it is repeated also when an outcome is unknown. A method that
    /// [`Router::handle_idempotent`] registered on this router is idempotent anyway.
    pub idempotent: bool,
}

/// What a call is aimed at. A tenant's shard is looked up again for each attempt, because it may be split meanwhile.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
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

/// One call, over all its attempts.
struct Attempts<'a> {
    router: &'a Router,
    target: Target<'a>,
    method: Arc<str>,
    payload: Bytes,
    deadline: Deadline,
    repeat: Repeat,
    /// Whether an earlier attempt may have run the method.
    may_have_run: bool,
    /// The shard that was tried last.
    shard: Option<ShardId>,
}

impl Router {
    /// Runs a method on a shard: with the handler of this node if the shard is here, otherwise with that of its owner.
    ///
    /// The call waits while the shard has no owner or is handed over. It is repeated, within its time, only where the method cannot
    /// have run, or is idempotent.
    ///
    /// # Errors
    /// [`Error`]; [`Error::outcome`] says whether the method may have run.
    pub async fn call(
        &self,
        shard: &ShardId,
        method: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        let options = CallOptions::default();
        self.call_with(shard, method, payload, options).await
    }

    /// Does as [`Router::call`].
    ///
    /// # Errors
    /// As [`Router::call`].
    pub async fn forward(
        &self,
        shard: &ShardId,
        method: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        self.call(shard, method, payload).await
    }

    /// Does as [`Router::call`], with options.
    ///
    /// # Errors
    /// As [`Router::call`].
    pub async fn call_with(
        &self,
        shard: &ShardId,
        method: &str,
        payload: impl Into<Bytes>,
        options: CallOptions,
    ) -> Result<Bytes, Error> {
        let target = Target::Shard(shard);
        self.reach(target, method, payload.into(), &options).await
    }

    /// Does as [`Router::call`] on the shard of a tenant.
    ///
    /// # Errors
    /// As [`Router::call`], and [`Error::NoTenants`].
    pub async fn call_by_tenant(
        &self,
        tenant: impl AsRef<[u8]>,
        method: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        let options = CallOptions::default();
        self.call_by_tenant_with(tenant, method, payload, options)
            .await
    }

    /// Does as [`Router::call_by_tenant`], with options.
    ///
    /// # Errors
    /// As [`Router::call_by_tenant`].
    pub async fn call_by_tenant_with(
        &self,
        tenant: impl AsRef<[u8]>,
        method: &str,
        payload: impl Into<Bytes>,
        options: CallOptions,
    ) -> Result<Bytes, Error> {
        let target = Target::Tenant(tenant.as_ref());
        self.reach(target, method, payload.into(), &options).await
    }

    async fn reach(
        &self,
        target: Target<'_>,
        method: &str,
        payload: Bytes,
        options: &CallOptions,
    ) -> Result<Bytes, Error> {
        let limit = self.inner.transport.payload_max();
        if payload.len() > limit {
            let size = payload.len();
            return Err(Error::PayloadTooLarge { size, limit });
        }
        let handler = self.inner.handlers.find(method);
        let idempotent = options.idempotent
            || handler.as_ref().map(|handler| handler.repeat) == Some(Repeat::Safe);
        let timeout = options.timeout.unwrap_or(self.inner.settings.timeout);
        let mut attempts = Attempts {
            router: self,
            target,
            method: handler.map_or_else(|| method.into(), |handler| Arc::clone(&handler.name)),
            payload,
            deadline: Deadline::after(timeout),
            repeat: if idempotent {
                Repeat::Safe
            } else {
                Repeat::Never
            },
            may_have_run: false,
            shard: None,
        };
        attempts.run().await
    }
}

impl Attempts<'_> {
    async fn run(&mut self) -> Result<Bytes, Error> {
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
            let hinted = hint.take();
            let step = match route {
                Ok(route) => {
                    let newer =
                        |hint: &Route| hint.shard == route.shard && hint.epoch > route.epoch;
                    let route = hinted.filter(newer).unwrap_or(route);
                    self.shard = Some(route.shard.clone());
                    self.attempt(route).await
                }
                Err(error @ (Error::NoMap | Error::NoOwner { .. })) => {
                    Step::Again { error, hint: None }
                }
                Err(error) => Step::Done(Err(error)),
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
                self.wait(version, &error, wait).await;
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

    /// Waits for a table later than `version`; also no longer than `wait`, unless only a change of the table helps.
    async fn wait(&self, version: u64, error: &Error, wait: Duration) {
        let deadline = match error {
            Error::NoMap | Error::NoOwner { .. } => self.deadline,
            _ => self.deadline.within(wait),
        };
        let mut versions = self.router.inner.version.subscribe();
        // The router holds the sender, so the wait does not fail.
        let _ = deadline
            .limit(versions.wait_for(|current| *current > version))
            .await;
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

    async fn attempt(&mut self, route: Route) -> Step {
        if self.deadline.has_passed() {
            let outcome = Outcome::NotRun;
            return Step::Done(Err(self.timed_out(&route.shard, outcome)));
        }
        if route.owner == *self.router.node() {
            return self.run_here(&route).await;
        }
        self.ask(route).await
    }

    /// Runs the handler of this node.
    async fn run_here(&self, route: &Route) -> Step {
        let Some(handler) = self.router.inner.handlers.find(&self.method) else {
            return Step::Done(Err(Error::UnknownMethod {
                node: route.owner.clone(),
                method: self.method.as_ref().to_owned(),
            }));
        };
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
    async fn ask(&self, route: Route) -> Step {
        let table = self.router.inner.table.load();
        let address = table.addresses.get(&route.owner).cloned();
        drop(table);
        let Some(address) = address else {
            let node = route.owner;
            let (error, hint) = (Error::UnknownNode { node }, None);
            return Step::Again { error, hint };
        };
        let request = Request {
            shard: route.shard.clone(),
            epoch: route.epoch,
            method: Arc::clone(&self.method),
            timeout: self.deadline.remaining(),
            payload: self.payload.clone(),
        };
        let peer = Peer {
            node: &route.owner,
            address: &address,
        };
        let sent = self.router.inner.transport.call(peer, request);
        match self.deadline.limit(sent).await {
            None => Step::Done(Err(self.timed_out(&route.shard, Outcome::Unknown))),
            Some(Ok(Ok(answer))) => Step::Done(Ok(answer)),
            Some(Ok(Err(refusal))) => self.refused(route, refusal),
            Some(Err(TransportError::NotDelivered(source))) => {
                self.router.refresh(&route.shard);
                let Route { shard, owner, .. } = route;
                let error = Error::Unreachable {
                    shard,
                    node: owner,
                    source,
                };
                Step::Again { error, hint: None }
            }
            Some(Err(TransportError::Unknown(source))) => {
                let error = Error::Interrupted {
                    shard: route.shard,
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
