//! Whoever leads: takes up what is being carried out, and decides by itself if it is to.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use metrics::counter;
use shardwright_rebalancer::execution::{Action, Event, Execution, Fault, MoveId, Notice as Told};
use shardwright_registry::Clock;
use shardwright_topology::{ShardId, Timestamp};
use tokio::task::{Id, JoinError, JoinSet};

use super::{
    Automatic, Balance, Options, Refused,
    automatic::Deciding,
    carry::{Failed, carry},
    picture,
    record::{Carried, Kept},
};
use crate::{Handle, core::Notice};

/// How long to wait after the registry failed, or before it is looked again whether all nodes were heard.
const PAUSE: Duration = Duration::from_millis(500);

/// How often the record is read while nothing happens: who led before may still have written what somebody asked of it.
const READ_EVERY: Duration = Duration::from_secs(5);

/// What looks after the balance, whenever this coordinator leads.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) handle: Handle,
    pub(crate) balance: Balance,
}

/// What is being carried out here.
struct Driven {
    id: String,
    execution: Execution,
    /// When it wants to be woken.
    wake: Option<Timestamp>,
    tasks: JoinSet<Result<(), Failed>>,
    /// Which moves they make.
    moves: HashMap<Id, MoveId>,
}

impl Leading {
    /// Looks after it while the coordinator leads, until its driver stops.
    pub(crate) async fn run(self) {
        let may_lead = |view: &crate::core::View| view.is_leading && view.is_complete;
        while self.handle.view_when(may_lead).await.is_some() && self.handle.is_running() {
            tokio::select! {
                // What it has begun is taken up by the next one.
                () = self.lead() => {}
                _ = self.handle.view_when(|view| !view.is_leading) => {}
            }
        }
    }

    async fn lead(&self) {
        let clock = Clock::start();
        let mut deciding = Deciding::new(self.balance.settings());
        let mut driven: Option<Driven> = None;
        let mut look_at = clock.now();
        loop {
            let mut kept = self.load().await;
            if let Err(error) = self.balance.pass_pins_on(&self.view(), &mut kept).await {
                tracing::warn!(%error, "the registry does not keep what is pinned");
            }
            self.take_up(clock.now(), &kept, &mut driven).await;
            let is_acting = self.balance.mode(kept.automatic) != Automatic::Off;
            if is_acting && look_at <= clock.now() {
                look_at = clock.now() + self.balance.settings().interval;
                if !deciding.look(self, clock.now(), &kept).await {
                    look_at = look_at.min(clock.now() + PAUSE);
                }
                continue;
            }
            let event = {
                let look_in = look_at.since(clock.now());
                tokio::select! {
                    () = self.balance.changed.notified() => None,
                    () = tokio::time::sleep(READ_EVERY) => None,
                    () = tokio::time::sleep(look_in), if is_acting => None,
                    event = next(&clock, driven.as_mut()) => Some(event),
                }
            };
            if let (Some((event, why)), Some(driving)) = (event, &mut driven) {
                self.tell_failure(driving, event, why, &mut deciding, clock.now());
                if !self.handle_events(clock.now(), driving, [event]).await {
                    driven = None;
                }
            }
        }
    }

    async fn load(&self) -> Kept {
        loop {
            match self.balance.kept.load().await {
                Ok(kept) => return kept,
                Err(error) => {
                    tracing::warn!(%error, "the registry does not say what is to be balanced");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes up what another one has begun, or somebody wants begun or ended.
    async fn take_up(&self, now: Timestamp, kept: &Kept, driven: &mut Option<Driven>) {
        let Some(carried) = &kept.execution else {
            *driven = None;
            return;
        };
        if driven.as_ref().is_none_or(|known| known.id != carried.id) {
            if carried.execution.is_finished() {
                *driven = None;
                return;
            }
            *driven = self.resume(now, carried, &kept.pins).await;
        }
        let Some(known) = driven else {
            return;
        };
        let mut wanted = Vec::new();
        if carried.is_cancelled && !known.execution.is_cancelled() {
            wanted.push(Event::Cancelled);
        }
        wanted.extend(unwanted(&known.execution, &kept.pins));
        if !wanted.is_empty() && !self.handle_events(now, known, wanted).await {
            *driven = None;
        }
    }

    async fn resume(
        &self,
        now: Timestamp,
        carried: &Carried,
        pins: &BTreeSet<ShardId>,
    ) -> Option<Driven> {
        let mut driven = Driven {
            id: carried.id.clone(),
            execution: carried.execution.clone(),
            wake: None,
            tasks: JoinSet::new(),
            moves: HashMap::new(),
        };
        let view = self.handle.view();
        let cluster = picture::cluster(&view, &[].into(), &Options::default(), &[].into());
        let mut actions = Vec::new();
        for event in unwanted(&carried.execution, pins) {
            driven.execution.handle(now, event, &mut actions);
        }
        // Whatever that has started is started by what follows, as all that runs.
        actions.clear();
        driven.execution.resume(now, &cluster, &mut actions);
        self.store_and_act(&mut driven, actions)
            .await
            .then_some(driven)
    }

    /// Takes events in; `false` if others have taken over.
    async fn handle_events(
        &self,
        now: Timestamp,
        driven: &mut Driven,
        events: impl IntoIterator<Item = Event>,
    ) -> bool {
        let mut actions = Vec::new();
        driven.wake = None;
        for event in events {
            driven.execution.handle(now, event, &mut actions);
        }
        self.store_and_act(driven, actions).await
    }

    /// Has the registry keep how far it is, and does what follows from it then.
    async fn store_and_act(&self, driven: &mut Driven, actions: Vec<Action>) -> bool {
        loop {
            let view = self.view();
            if !view.is_leading {
                return false;
            }
            let stored = self.balance.kept.change(|kept| {
                let known = kept.execution.as_mut();
                let known = known.filter(|known| known.id == driven.id);
                let is_ours =
                    known.is_some_and(|known| known.advance(&driven.execution, view.term));
                is_ours.then_some(()).ok_or(Refused::NotInProgress)
            });
            match stored.await {
                Ok(()) => break,
                Err(Refused::Registry(error)) => {
                    tracing::warn!(%error, "the registry does not keep how far a plan is");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(_) => return false,
            }
        }
        for action in actions {
            match action {
                Action::Start { id, planned, .. } => {
                    let handle = self.handle.clone();
                    let moving = async move { carry(&handle, &planned).await };
                    let task = driven.tasks.spawn(moving);
                    driven.moves.insert(task.id(), id);
                }
                Action::WakeAt(at) => driven.wake = Some(at),
                Action::Notify(Told::Finished { progress }) => {
                    self.push(Notice::RebalanceEnded {
                        plan: driven.id.clone(),
                        done: progress.ended,
                        undone: progress.given_up,
                    });
                }
                Action::Notify(_) => {}
            }
        }
        true
    }

    /// Says why a move has failed, and lets its shard rest.
    fn tell_failure(
        &self,
        driven: &Driven,
        event: Event,
        why: Option<String>,
        deciding: &mut Deciding,
        now: Timestamp,
    ) {
        let (Event::Ended { id } | Event::Failed { id, .. }) = event else {
            return;
        };
        let mut running = driven.execution.running();
        let Some((_, planned)) = running.find(|(running, _)| *running == id) else {
            return;
        };
        deciding.moved(now, &planned.partition);
        if let Some(error) = why {
            self.push(Notice::RebalanceRefused {
                step: super::automatic::said(planned),
                error,
            });
        }
    }

    pub(super) fn push(&self, notice: Notice) {
        counter!("shardwright_events_total", "event" => notice.kind()).increment(1);
        tracing::info!(?notice, "coordinator");
        self.handle.events().push(notice);
    }
}

/// Returns what ends the moves of shards that somebody has pinned since, be it by moving them. Those that run go on to their ends.
fn unwanted(execution: &Execution, pins: &BTreeSet<ShardId>) -> Vec<Event> {
    let waiting = execution.waiting();
    let pinned = waiting.filter(|(_, planned)| pins.contains(&planned.partition.shard));
    pinned.map(|(id, _)| Event::Unwanted { id }).collect()
}

/// Waits for what happens next to what is being carried out, and why if it failed.
async fn next(clock: &Clock, driven: Option<&mut Driven>) -> (Event, Option<String>) {
    let Some(driven) = driven else {
        return std::future::pending().await;
    };
    let Driven {
        wake, tasks, moves, ..
    } = driven;
    let wake_in = wake.map(|at| at.since(clock.now()));
    let woken = async {
        match wake_in {
            Some(wake_in) => tokio::time::sleep(wake_in).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        Some(joined) = tasks.join_next_with_id() => end_of(joined, moves),
        () = woken => (Event::Woken, None),
    }
}

/// Returns what has become of a move whose task has ended.
fn end_of(
    joined: Result<(Id, Result<(), Failed>), JoinError>,
    moves: &mut HashMap<Id, MoveId>,
) -> (Event, Option<String>) {
    let (task, outcome) = joined.unwrap_or_else(|error| {
        let failed = Failed {
            fault: Fault::Passing,
            why: "its task panicked".to_owned(),
        };
        (error.id(), Err(failed))
    });
    match (moves.remove(&task), outcome) {
        (Some(id), Ok(())) => (Event::Ended { id }, None),
        (Some(id), Err(Failed { fault, why })) => (Event::Failed { id, fault }, Some(why)),
        (None, _) => (Event::Woken, None),
    }
}

impl Leading {
    /// Returns what is looked after in a task of its own.
    pub(crate) fn start(handle: Handle, balance: Balance) -> tokio::task::JoinHandle<()> {
        tokio::spawn(Self { handle, balance }.run())
    }

    pub(super) fn view(&self) -> Arc<crate::core::View> {
        self.handle.view()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_move_whose_task_panics_has_failed() {
        let (mut tasks, mut moves) = (JoinSet::new(), HashMap::new());
        let task = tasks.spawn(async { panic!("as it is to") });
        moves.insert(task.id(), MoveId(3));
        let joined = tasks.join_next_with_id().await.expect("there is one");
        let (event, why) = end_of(joined, &mut moves);
        let failed = Event::Failed {
            id: MoveId(3),
            fault: Fault::Passing,
        };
        assert_eq!((event, why.is_some()), (failed, true));
        assert!(moves.is_empty());
    }
}
