//! Runs a coordinator: its machine on a store, a clock and HTTP.

mod builder;
mod partitions;
mod ping;
mod registration;
mod watch;
mod write;

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use rand::SeedableRng;
use shardwright_failover::replication::Condition;
use shardwright_rebalancer::Policy;
use shardwright_registry::{Clock, Revision, Seen, Store};
use shardwright_topology::{Gap, Halts, Timestamp};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::MissedTickBehavior,
};

pub use self::builder::Builder;
use crate::{
    core::{
        Action, Command, CommandId, Core, Done, Event, Notice, Settings, View, WriteId,
        WriteOutcome,
    },
    handle::{Answer, Handle, Request, Seat},
    http::Token,
};

/// A coordinator that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Coordinator {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// What carries out operations. It ends with the task.
    operations: Option<JoinHandle<()>>,
    /// What looks after the balance.
    balancing: JoinHandle<()>,
}

impl Coordinator {
    /// Starts a coordinator on a store, in the present tokio runtime. Its workers need no token, and it splits no shards.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, settings: Settings, policy: Box<dyn Policy>) -> Self {
        Self::builder(store, settings, policy).start()
    }

    /// Starts a coordinator that shows the cluster's token to the workers that it pings, and splits no shards.
    #[must_use]
    pub fn start_with_token(
        store: Arc<dyn Store>,
        settings: Settings,
        policy: Box<dyn Policy>,
        token: Option<Token>,
    ) -> Self {
        Self::builder(store, settings, policy).token(token).start()
    }

    /// Returns the settings of a coordinator that is to be started.
    pub fn builder(store: Arc<dyn Store>, settings: Settings, policy: Box<dyn Policy>) -> Builder {
        Builder::new(store, settings, policy)
    }

    /// Returns the handle by which it is asked.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Stops it. If it leads, it gives its lease back first, so that the next leader need not wait.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // A driver that has ended already is stopped.
            let _sent = stop.send(());
        }
        let _ended = (&mut self.task).await;
        self.balancing.abort();
        if let Some(operations) = self.operations.take() {
            // What is under way goes on elsewhere.
            let _ended = tokio::time::timeout(FAREWELL, operations).await;
        }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.balancing.abort();
        if self.stop.is_some() {
            self.task.abort();
        }
    }
}

/// What the driver's own tasks report.
#[derive(Debug)]
enum Heard {
    /// Something for the machine.
    Event(Event),
    /// A write is over; what was found in its way comes first.
    Wrote {
        write: WriteId,
        found: Option<Seen>,
        outcome: WriteOutcome,
    },
    /// Partitions were added or removed, and the machine knows once it has seen that revision.
    Partitions {
        revision: Revision,
        done: Done,
        answer: Answer<Done>,
    },
}

/// An answer that waits until the machine has seen a revision.
#[derive(Debug)]
struct Waiting {
    revision: Revision,
    done: Done,
    answer: Answer<Done>,
}

/// How much is taken in at once.
const BATCH: usize = 256;

/// The share of its time that a coordinator spends on showing what it knows: one in so many.
const SHOW_SHARE: u32 = 10;

/// How long the last writes of a coordinator that stops may take.
const FAREWELL: Duration = Duration::from_secs(2);

struct Driver {
    store: Arc<dyn Store>,
    settings: Settings,
    core: Core,
    clock: Clock,
    seat: Seat,
    heard: mpsc::UnboundedSender<Heard>,
    inbox: mpsc::UnboundedReceiver<Heard>,
    pinger: ping::Pinger,
    answers: Vec<(CommandId, Answer<Done>)>,
    waiting: Vec<Waiting>,
    next_command: u64,
    shown: Option<(u64, bool, Timestamp)>,
    /// How long it took to show what was known last.
    show_cost: Duration,
    /// Whether any shard was ever shown that commits on several members.
    has_replicated: bool,
    halts: Halts<Gap>,
}

impl Driver {
    fn new(
        store: Arc<dyn Store>,
        settings: Settings,
        policy: Box<dyn Policy>,
        pinger: ping::Pinger,
        seat: Seat,
    ) -> Self {
        let (heard, inbox) = mpsc::unbounded_channel();
        let rng = Box::new(rand::rngs::StdRng::from_os_rng());
        Self {
            core: Core::new(settings.clone(), policy, rng),
            pinger,
            store,
            settings,
            clock: Clock::start(),
            seat,
            heard,
            inbox,
            answers: Vec::new(),
            waiting: Vec::new(),
            next_command: 0,
            shown: None,
            show_cost: Duration::ZERO,
            has_replicated: false,
            halts: Halts::default(),
        }
    }

    /// Returns it with a test that is told of the gaps between the steps of moves.
    fn halting(self, halts: Halts<Gap>) -> Self {
        Self { halts, ..self }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let watch = watch::start(
            self.store.clone(),
            self.settings.clone(),
            self.heard.clone(),
        );
        let tick = self.settings.check_interval / 10;
        let tick = tick.clamp(Duration::from_millis(5), Duration::from_millis(500));
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                heard = self.inbox.recv() => {
                    let Some(heard) = heard else { break };
                    self.hear(heard);
                    // Much of what is there already is taken in before anything is shown, but time goes on.
                    for _ in 0..BATCH {
                        let Ok(heard) = self.inbox.try_recv() else { break };
                        self.hear(heard);
                    }
                }
                Some(request) = self.seat.requests.recv() => self.request(request),
                _ = ticks.tick() => self.handle(Event::Tick),
            }
            self.answer_what_is_seen();
            self.show();
        }
        self.farewell().await;
        watch.abort();
    }

    async fn farewell(&mut self) {
        let mut actions = Vec::new();
        self.core.resign(&mut actions);
        for action in actions {
            if let Action::Write { change, .. } = action {
                let write = write::write(&self.store, change);
                // A lease that is not given back ends by itself.
                let _given_back = tokio::time::timeout(FAREWELL, write).await;
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Event(event) => self.handle(event),
            Heard::Wrote {
                write,
                found,
                outcome,
            } => {
                if let Some(found) = found {
                    self.handle(Event::Found(found));
                }
                self.handle(Event::Wrote { write, outcome });
            }
            Heard::Partitions {
                revision,
                done,
                answer,
            } => self.waiting.push(Waiting {
                revision,
                done,
                answer,
            }),
        }
    }

    fn handle(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.core.handle(self.clock.now(), event, &mut actions);
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write { write, change } => {
                let limit = self.settings.timing.timeout();
                let (store, heard) = (self.store.clone(), self.heard.clone());
                write::spawn(store, write, change, limit, self.halts.clone(), heard);
            }
            Action::Read { key } => {
                let limit = self.settings.timing.timeout();
                write::read_shard(self.store.clone(), key, limit, self.heard.clone());
            }
            Action::Ping { address, ping } => {
                self.pinger.ping(address, ping, self.heard.clone());
            }
            Action::Bootstrap { shards, replicated } => {
                watch::bootstrap(self.store.clone(), shards, replicated);
            }
            Action::Notify(notice) => {
                count(&notice);
                tracing::info!(?notice, "coordinator");
                self.seat.events.push(notice);
            }
            Action::Answer { id, result } => {
                let place = self.answers.iter().position(|(other, _)| *other == id);
                if let Some(place) = place {
                    // Who asked may have gone away.
                    let _sent = self.answers.swap_remove(place).1.send(result);
                }
            }
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Command(Command::AddPartitions { ids, replicas }, answer) => {
                self.add_partitions(ids, replicas, answer);
            }
            Request::Command(Command::RemovePartitions { ids }, answer) => {
                self.remove_partitions(ids, answer);
            }
            Request::Command(command, answer) => self.command(command, answer),
            Request::Register(register, answer) => {
                registration::register(self.store.clone(), &self.settings, register, answer);
            }
            Request::Leave(leave, answer) => {
                let (done, result) = oneshot::channel();
                let command = Command::Leave {
                    node: leave.id,
                    incarnation: leave.incarnation,
                    gone: leave.gone,
                };
                self.command(command, done);
                tokio::spawn(async move {
                    if let Ok(result) = result.await {
                        let _sent = answer.send(result.map(|_: Done| ()));
                    }
                });
            }
        }
    }

    fn command(&mut self, command: Command, answer: Answer<Done>) {
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.answers.push((id, answer));
        self.handle(Event::Command { id, command });
    }

    fn answer_what_is_seen(&mut self) {
        let seen = self.core.revision();
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.revision <= seen);
        self.waiting = waiting;
        if ready.is_empty() {
            return;
        }
        self.shown = None;
        self.show();
        for Waiting { done, answer, .. } in ready {
            let _sent = answer.send(Ok(done));
        }
    }

    /// Shows what is known, if that has changed, and not more often than anybody can read.
    fn show(&mut self) {
        let now = self.clock.now();
        let (version, is_leading) = (self.core.version(), self.core.is_leading(now));
        let pause = (self.settings.check_interval / 4).min(Duration::from_millis(100));
        let pause = pause.max(self.show_cost * SHOW_SHARE);
        if let Some((shown, was_leading, at)) = self.shown {
            let is_same = shown == version && was_leading == is_leading;
            if is_same || was_leading == is_leading && now.since(at) < pause {
                return;
            }
        }
        self.shown = Some((version, is_leading, now));
        let view = self.core.view(now);
        gauge!("shardwright_coordinator_leading").set(f64::from(u8::from(is_leading)));
        self.count_replicated(&view);
        gauge!("shardwright_operations").set(view.open_operations() as f64);
        self.seat.view.send_replace(Arc::new(view));
        self.show_cost = self.clock.now().since(now);
    }

    /// Counts the shards that commit on several members by how they stand, once there was one.
    fn count_replicated(&mut self, view: &View) {
        self.has_replicated |= !view.replicated.is_empty();
        if !self.has_replicated {
            return;
        }
        for kind in Condition::KINDS {
            let shards = view.replicated.values();
            let count = shards
                .filter(|shard| shard.condition.kind() == kind)
                .count();
            gauge!("shardwright_replicated_shards", "condition" => kind).set(count as f64);
        }
    }
}

fn count(notice: &Notice) {
    counter!("shardwright_events_total", "event" => notice.kind()).increment(1);
    if let Notice::Assigned {
        partition,
        from: Some(from),
        to,
        is_failover: true,
        ..
    } = notice
    {
        let labels = [
            ("shard", partition.shard.to_string()),
            ("from", from.to_string()),
            ("to", to.to_string()),
        ];
        counter!("shardwright_failover_events_total", &labels).increment(1);
    }
}
