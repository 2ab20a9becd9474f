//! Runs a worker: its machine on a clock, HTTP and the callbacks.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequestParts, State},
    http::{StatusCode, request::Parts},
    response::IntoResponse,
    routing::post,
};
use shardwright_rebalancer::PartitionId;
use shardwright_registry::Clock;
use shardwright_topology::Timestamp;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    Standing, Worker,
    builder::{LeaseNews, WorkerBuilder},
    machine::{Action, Call, Event, Machine, PingRefused},
    registrar::Registrar,
    served::Served,
};
use crate::{
    http::Token,
    protocol::{Ping, Pong, Registered, WORKER_PATH},
};

/// What a worker's driver is told.
#[derive(Debug)]
pub(super) enum Heard {
    Ping {
        ping: Ping,
        answer: oneshot::Sender<Result<Pong, PingRefused>>,
    },
    Registered(Registered),
    Finished {
        partition: PartitionId,
        call: Call,
        result: Result<(), String>,
    },
    /// The service says how far its copy of a shard is.
    Progress {
        partition: PartitionId,
        position: Option<u64>,
        in_sync: Option<bool>,
    },
    Leave {
        limit: Duration,
        done: oneshot::Sender<bool>,
    },
}

/// The largest ping, in bytes: a list of some 200,000 shards.
const PING_MAX: usize = 64 << 20;

/// Where pings come in, and what they have to carry.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    pub(super) heard: mpsc::UnboundedSender<Heard>,
    pub(super) token: Option<Token>,
}

/// A request with the cluster's token, where there is one. It is looked at before the body is read.
struct Admitted;

impl FromRequestParts<Entrance> for Admitted {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(
        parts: &mut Parts,
        entrance: &Entrance,
    ) -> Result<Self, Self::Rejection> {
        match &entrance.token {
            Some(token) if !token.is_in(&parts.headers) => Err((
                StatusCode::UNAUTHORIZED,
                "the ping carries no token, or another one\n",
            )),
            _ => Ok(Self),
        }
    }
}

pub(super) fn router(entrance: Entrance) -> Router {
    Router::new()
        .route(
            WORKER_PATH,
            post(ping).layer(DefaultBodyLimit::max(PING_MAX)),
        )
        .with_state(entrance)
}

async fn ping(
    _: Admitted,
    State(entrance): State<Entrance>,
    Json(ping): Json<Ping>,
) -> axum::response::Response {
    let (answer, result) = oneshot::channel();
    if entrance.heard.send(Heard::Ping { ping, answer }).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match result.await {
        Ok(Ok(pong)) => Json(pong).into_response(),
        Ok(Err(refused)) => (StatusCode::CONFLICT, refused.to_string()).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

pub(super) fn start(builder: WorkerBuilder) -> Worker {
    let (heard, inbox) = mpsc::unbounded_channel();
    let clock = Clock::start();
    let served = Arc::new(Served::new(clock));
    let (standing, state) = watch::channel(Standing::default());
    let worker = Worker {
        id: builder.register.id.clone(),
        served: served.clone(),
        entrance: Entrance {
            heard: heard.clone(),
            token: builder.token.clone(),
        },
        state,
    };
    let driver = Driver {
        machine: Machine::new(builder.register.id.clone()),
        registrar: Registrar::new(builder.clone()),
        builder,
        clock,
        served,
        heard,
        standing,
        leaving: None,
        answer: None,
        granted_end: None,
        registering: None,
    };
    tokio::spawn(driver.run(inbox));
    worker
}

/// A worker that leaves.
#[derive(Debug)]
struct Leaving {
    until: Timestamp,
    done: oneshot::Sender<bool>,
    handed_over: bool,
    stopping: bool,
}

struct Driver {
    machine: Machine,
    registrar: Registrar,
    builder: WorkerBuilder,
    clock: Clock,
    served: Arc<Served>,
    heard: mpsc::UnboundedSender<Heard>,
    standing: watch::Sender<Standing>,
    leaving: Option<Leaving>,
    answer: Option<oneshot::Sender<Result<Pong, PingRefused>>>,
    /// The end of the lease that was last told.
    granted_end: Option<Timestamp>,
    registering: Option<JoinHandle<()>>,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Heard>) {
        self.register();
        loop {
            tokio::select! {
                heard = inbox.recv() => match heard {
                    Some(heard) => self.hear(heard),
                    None => return,
                },
                () = self.its_time() => self.handle(Event::Tick),
            }
            if self.leave_step().await {
                return;
            }
        }
    }

    /// Waits until something is to be done because time has passed. What may be served ends by itself, whether this task runs or not.
    async fn its_time(&self) {
        let leaving = self.leaving.as_ref().filter(|leaving| !leaving.stopping);
        let until = leaving.map(|leaving| leaving.until);
        match self.machine.wake_at().into_iter().chain(until).min() {
            Some(at) => tokio::time::sleep(at.since(self.clock.now())).await,
            None => std::future::pending().await,
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Ping { ping, answer } => {
                self.answer = Some(answer);
                self.handle(Event::Ping(ping));
            }
            Heard::Registered(registered) => {
                self.standing.send_modify(|state| state.registered = true);
                let times_ms = registered.check_interval_ms + registered.hold_ms;
                self.handle(Event::Registered {
                    incarnation: registered.incarnation,
                    patience: Duration::from_millis(times_ms.saturating_mul(2)),
                });
            }
            Heard::Finished {
                partition,
                call,
                result,
            } => self.handle(Event::Finished {
                partition,
                call,
                result,
            }),
            Heard::Progress {
                partition,
                position,
                in_sync,
            } => self.handle(Event::Progress {
                partition,
                position,
                in_sync,
            }),
            Heard::Leave { limit, done } => {
                let until = self.clock.now() + limit;
                self.handle(Event::Leave);
                // Answers to pings say so too, until it is done. This brings the next one forward.
                if let Some(incarnation) = self.machine.incarnation() {
                    let registrar = self.registrar.clone();
                    tokio::spawn(async move { registrar.leave(incarnation, false).await });
                }
                self.leaving = Some(Leaving {
                    until,
                    done,
                    handed_over: false,
                    stopping: false,
                });
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.machine.handle(self.clock.now(), event, &mut actions);
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        // What is no longer served is not shown as served while its callback runs.
        self.show();
        for action in actions {
            match action {
                Action::Answer(mut answer) => {
                    if let (Ok(pong), Some(copies)) = (&mut answer, &self.builder.copies) {
                        pong.copies = Some(copies.states());
                        pong.troubles = copies.troubles();
                    }
                    if let Some(waiting) = self.answer.take() {
                        // A coordinator that has given up asks again.
                        let _sent = waiting.send(answer);
                    }
                }
                Action::Run { assignment, call } => self.run_callback(assignment, call),
                Action::Instruct(instructions) => {
                    // Whoever keeps none was mistaken for somebody else.
                    if let Some(copies) = &self.builder.copies {
                        copies.follow(instructions);
                    }
                }
                Action::Register => self.register(),
                Action::Drained => {
                    if let Some(leaving) = &mut self.leaving {
                        leaving.handed_over = true;
                    }
                }
            }
        }
    }

    fn run_callback(&self, assignment: crate::protocol::Assignment, call: Call) {
        let callback = match call {
            Call::Serve => self.builder.serve.clone(),
            Call::Delete => self.builder.delete.clone(),
        };
        let heard = self.heard.clone();
        tokio::spawn(async move {
            let partition = assignment.partition.clone();
            // In a task of its own, so that a panic is a failure and not a silence.
            let ended = tokio::spawn(async move { callback(assignment).await }).await;
            let result = match ended {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(panic) => Err(panic.to_string()),
            };
            let _sent = heard.send(Heard::Finished {
                partition,
                call,
                result,
            });
        });
    }

    fn register(&mut self) {
        let registers = self.registering.as_ref();
        // A session that ends before all is handed over is followed by another one.
        let is_over = self
            .leaving
            .as_ref()
            .is_some_and(|leaving| leaving.stopping);
        if is_over || registers.is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (registrar, heard) = (self.registrar.clone(), self.heard.clone());
        // One attempt at a time: each that succeeds ends the session before.
        self.registering = Some(tokio::spawn(async move {
            let registered = registrar.register().await;
            let _sent = heard.send(Heard::Registered(registered));
        }));
    }

    fn show(&mut self) {
        self.served.set_shards(self.machine.serving());
        let granted = self.machine.lease_ends_at();
        if granted != self.granted_end {
            self.granted_end = granted;
            if self.is_noted(granted) {
                self.served.set_end(granted);
            }
        }
        let idle = self.machine.is_idle();
        self.standing.send_if_modified(|state| {
            let changed = state.idle != idle;
            state.idle = idle;
            changed
        });
    }

    /// Tells whoever watches, and returns whether the lease may last until then: an audit log has to know of the time before it begins.
    fn is_noted(&self, end: Option<Timestamp>) -> bool {
        let (Some(watch), Some(end)) = (&self.builder.watch, end) else {
            return true;
        };
        let left = end.since(self.clock.now());
        let noted = watch(&LeaseNews { left });
        if let Err(error) = &noted {
            tracing::error!(%error, "the lease is not extended, which could not be noted");
        }
        noted.is_ok()
    }

    /// Goes on with leaving. Returns whether the worker has left.
    async fn leave_step(&mut self) -> bool {
        let now = self.clock.now();
        let Some(leaving) = &mut self.leaving else {
            return false;
        };
        if !leaving.stopping && (leaving.handed_over || leaving.until <= now) {
            leaving.stopping = true;
            self.handle(Event::Stop);
        }
        let is_over = |leaving: &Leaving| leaving.stopping && self.machine.is_idle();
        let Some(leaving) = self.leaving.take_if(|leaving| is_over(leaving)) else {
            return false;
        };
        if let Some(incarnation) = self.machine.incarnation() {
            self.registrar.leave(incarnation, true).await;
        }
        // Who asked may have gone away.
        let _sent = leaving.done.send(leaving.handed_over);
        true
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{Incarnation, NodeId};
    use tokio::runtime::Handle;

    use super::*;
    use crate::protocol::VERSION;

    #[tokio::test(start_paused = true)]
    async fn a_worker_with_nothing_to_do_sleeps() {
        let name = NodeId::new("w").unwrap();
        let worker = Worker::builder(name, "http://127.0.0.1:9", Vec::new()).start();
        let registered = Heard::Registered(Registered {
            version: VERSION,
            incarnation: Incarnation(1),
            check_interval_ms: 3_600_000,
            hold_ms: 3_600_000,
        });
        worker.entrance.heard.send(registered).unwrap();
        worker.registered().await;
        let wakes = || Handle::current().metrics().worker_park_count(0);
        let before = wakes();
        tokio::time::sleep(Duration::from_secs(100)).await;
        // Those of its registration, which nobody answers.
        let wakes = wakes() - before;
        assert!(wakes < 1_000, "woke {wakes} times in 100 seconds");
    }
}
