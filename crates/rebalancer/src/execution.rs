//! Carrying out a plan: what runs, what waits, what came of it.
//!
//! ```text
//!   resume, Ended, Failed, Advanced, Woken, Paused, Continued, Cancelled, Unwanted
//!                               |
//!                               v
//!                  +--------------------------+
//!                  | Execution                |    waiting -> running -> ended
//!                  +--------------------------+        ^         |
//!                               |                      |         v
//!                               v                      +----- resting -> given up
//!                    Start, WakeAt, Notify
//! ```
//!
//! [`Execution`] decides and does nothing itself: no clock, no I/O. A driver starts the moves that it is told to start, and says how
//! they ended. Whoever wants to go on after a crash stores the execution (it is serialisable) after each event and before it carries
//! out the actions; what it reads back then, it [resumes](Execution::resume).

mod event;
mod queue;
mod record;

pub use self::{
    event::{Action, Event, Fault, GivenUp, MoveId, Notice, Progress},
    record::InvalidExecution,
};

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};
use shardwright_topology::Timestamp;

use self::{event::State, queue::Queue, record::Record};
use crate::{
    Cluster, Limits, MapRevision, Move, PartitionId, Proposal, StalePlan, Step, seats::number_of,
};

/// How fast a plan is carried out, and how stubbornly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pace {
    /// How many moves run at the same time, in all and with any one node.
    pub limits: Limits,
    /// How often a move is tried. Default 3.
    pub attempts_max: NonZeroU32,
    /// How long a move rests after a failure. Default 10 s.
    pub rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            attempts_max: NonZeroU32::new(3).unwrap_or(NonZeroU32::MIN),
            rest: Duration::from_secs(10),
        }
    }
}

/// One move of the plan, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tracked {
    #[serde(flatten)]
    planned: Move,
    /// How many bytes it copies, as far as that was known.
    bytes: u64,
    attempts: u32,
    state: State,
}

/// A plan that is being carried out.
///
/// - No more moves run at the same time than the [`Pace`] allows, the most urgent first; moves of one partition run one after the
///   other, and once one of them is given up, the later ones are.
/// - A plan is begun only at the revision of the map that it was made from. From then on the map changes by the moves themselves, so
///   each move is checked where it is carried out; one that no longer fits is given up, and the others go on.
/// - It ends: each move is tried a limited number of times.
///
/// An event takes logarithmic time in the number of moves, and a little for each move that waits for the node that became free.
///
/// ```
/// use shardwright_rebalancer::{
///     Cluster, MapRevision, Node, Partition, PartitionId, Rebalancer, ReplicaPolicy,
///     execution::{Action, Event, Execution, Pace},
///     topology::{NodeId, ShardId, Timestamp},
/// };
///
/// let mut cluster = Cluster::new();
/// cluster.set_node(Node::new(NodeId::new("n1")?));
/// cluster.set_partition(PartitionId::from(ShardId::numbered(0)), Partition::new(1));
/// let revision = MapRevision(7);
/// let proposal = Rebalancer::new(ReplicaPolicy::default()).propose(revision, &cluster);
///
/// let (now, mut actions) = (Timestamp::default(), Vec::new());
/// let mut execution = Execution::begin(now, &proposal, &cluster, revision, Pace::default(), &mut actions)?;
/// while let Some(action) = actions.pop() {
///     if let Action::Start { id, planned, .. } = action {
///         cluster.apply(&planned)?; // where a real driver copies a shard
///         execution.handle(now, Event::Ended { id }, &mut actions);
///     }
/// }
/// assert!(execution.is_finished());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct Execution {
    revision: MapRevision,
    pace: Pace,
    moves: Vec<Tracked>,
    is_paused: bool,
    is_cancelled: bool,
    queue: Queue,
    progress: Progress,
    resting: BTreeSet<(Timestamp, u32)>,
    /// The moves whose state the last event has changed, where that is checked.
    touched: Vec<u32>,
}

impl Execution {
    /// Begins to carry out a proposal on the cluster that it was made from, if the map is still at its revision.
    ///
    /// # Errors
    /// [`StalePlan`] if it is not.
    pub fn begin(
        now: Timestamp,
        proposal: &Proposal,
        cluster: &Cluster,
        current: MapRevision,
        pace: Pace,
        actions: &mut Vec<Action>,
    ) -> Result<Self, StalePlan> {
        proposal.check(current)?;
        let tracked = proposal.plan.moves.iter().map(|planned| Tracked {
            planned: planned.clone(),
            bytes: cluster.bytes_of(planned),
            attempts: 0,
            state: State::Waiting,
        });
        let mut execution = Self::assemble(proposal.revision, pace, tracked.collect());
        execution.go_on(now, actions);
        execution.tell_if_finished(actions);
        Ok(execution)
    }

    fn assemble(revision: MapRevision, pace: Pace, moves: Vec<Tracked>) -> Self {
        let mut progress = Progress {
            moves: moves.len(),
            ..Progress::default()
        };
        for tracked in &moves {
            progress.count(tracked.state);
            progress.bytes = progress.bytes.saturating_add(tracked.bytes);
            let done = tracked.state.bytes_of(tracked.bytes);
            progress.bytes_done = progress.bytes_done.saturating_add(done);
        }
        Self {
            queue: Queue::new(&moves, pace.limits),
            revision,
            pace,
            moves,
            is_paused: false,
            is_cancelled: false,
            progress,
            resting: BTreeSet::new(),
            touched: Vec::new(),
        }
    }

    /// Goes on after a restart of the driver, on the cluster as it is now.
    ///
    /// Of the moves that ran, those whose result is there have ended; those that still fit are started again, with the same id, so a
    /// driver must be able to take up a move that had begun; the others are given up. Call it once, before any event.
    pub fn resume(&mut self, now: Timestamp, cluster: &Cluster, actions: &mut Vec<Action>) {
        self.resting.clear();
        for number in 0..self.moves.len() {
            let tracked = &self.moves[number];
            let id = MoveId(number_of(number));
            match (tracked.state, fit(cluster, &tracked.planned)) {
                (State::Waiting | State::Ended | State::GivenUp { .. }, _) => {}
                (State::Running { .. } | State::Resting, Fit::Done) => self.end(id, actions),
                (State::Running { .. }, Fit::Fits) => actions.push(self.start_of(id)),
                // Clocks of two processes are not compared, so nobody knows how long it has rested.
                (State::Resting, Fit::Fits) => self.wait_again(id),
                (State::Running { .. } | State::Resting, Fit::No) => {
                    self.give_up(id, GivenUp::DoesNotFit, actions);
                }
            }
        }
        self.go_on(now, actions);
        self.tell_if_finished(actions);
        debug_assert_eq!(self.check_invariants(), Ok(()));
    }

    /// Advances on `event`, appending to `actions` what the driver must do next. What is said of moves that do not run is passed over,
    /// so an event may be told twice.
    pub fn handle(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        let was_finished = self.is_finished();
        self.touched.clear();
        match event {
            Event::Advanced { id, bytes } => self.advance(id, bytes),
            Event::Ended { id } => self.end(id, actions),
            Event::Failed { id, fault } => self.fail(now, id, fault, actions),
            Event::Woken => {}
            Event::Paused => self.is_paused = true,
            Event::Continued => self.is_paused = false,
            Event::Cancelled => self.cancel(actions),
            Event::Unwanted { id } => self.cancel_move(id, actions),
        }
        self.go_on(now, actions);
        if !was_finished {
            self.tell_if_finished(actions);
        }
        // A plan has many thousands of moves, and as many events: all of it is looked at once, at the end.
        debug_assert_eq!(self.check_touched(), Ok(()));
        debug_assert!(
            was_finished || !self.is_finished() || self.check_invariants().is_ok(),
            "what is finished must be an execution"
        );
    }

    /// Returns how far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Returns the revision of the map that the plan was made from.
    #[must_use]
    pub fn revision(&self) -> MapRevision {
        self.revision
    }

    /// Whether every move has ended or was given up.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.progress.ended + self.progress.given_up == self.progress.moves
    }

    /// Whether somebody wants nothing more to be started at all.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled
    }

    /// Returns the moves that run, in the order of the plan.
    pub fn running(&self) -> impl Iterator<Item = (MoveId, &Move)> {
        let all = (0..).map(MoveId).zip(&self.moves);
        all.filter(|(_, tracked)| matches!(tracked.state, State::Running { .. }))
            .map(|(id, tracked)| (id, &tracked.planned))
    }

    /// Returns the moves that wait for their turn, or rest after a failure, in the order of the plan.
    pub fn waiting(&self) -> impl Iterator<Item = (MoveId, &Move)> {
        let all = (0..).map(MoveId).zip(&self.moves);
        all.filter(|(_, tracked)| matches!(tracked.state, State::Waiting | State::Resting))
            .map(|(id, tracked)| (id, &tracked.planned))
    }

    /// Returns what was given up, in the order of the plan, and why: what is to be planned again.
    pub fn given_up(&self) -> impl Iterator<Item = (&Move, GivenUp)> {
        self.moves.iter().filter_map(|tracked| match tracked.state {
            State::GivenUp { why } => Some((&tracked.planned, why)),
            _ => None,
        })
    }

    fn advance(&mut self, id: MoveId, bytes: u64) {
        let Some(tracked) = self.moves.get_mut(id.0 as usize) else {
            return;
        };
        if let State::Running { bytes: known } = &mut tracked.state {
            let most = bytes.clamp(*known, tracked.bytes.max(*known));
            self.progress.bytes_done += most - *known;
            *known = most;
        }
    }

    fn end(&mut self, id: MoveId, actions: &mut Vec<Action>) {
        match self.moves.get(id.0 as usize).map(|tracked| tracked.state) {
            Some(State::Running { .. }) => self.queue.release(&self.moves, id.0),
            // It failed only by what was heard of it.
            Some(State::Resting) => {}
            _ => return,
        }
        self.set(id, State::Ended);
        actions.push(Action::Notify(Notice::Ended { id }));
        let later = self.queue.later(id.0);
        if let Some(later) = later
            && self.moves[later as usize].state == State::Waiting
        {
            self.queue.wait(later);
        }
    }

    fn fail(&mut self, now: Timestamp, id: MoveId, fault: Fault, actions: &mut Vec<Action>) {
        let Some(tracked) = self.moves.get(id.0 as usize) else {
            return;
        };
        if !matches!(tracked.state, State::Running { .. }) {
            return;
        }
        let (attempts, most) = (tracked.attempts, self.pace.attempts_max.get());
        actions.push(Action::Notify(Notice::Failed {
            id,
            fault,
            attempt: attempts,
        }));
        match fault {
            Fault::DoesNotFit => self.give_up(id, GivenUp::DoesNotFit, actions),
            Fault::Refused => self.give_up(id, GivenUp::Refused, actions),
            Fault::Passing if self.is_cancelled => self.give_up(id, GivenUp::Cancelled, actions),
            Fault::Passing if attempts >= most => self.give_up(id, GivenUp::TooOften, actions),
            Fault::Passing => {
                self.set(id, State::Resting);
                self.queue.release(&self.moves, id.0);
                self.resting.insert((now + self.pace.rest, id.0));
            }
        }
    }

    /// Gives up a move, and the later ones of its partition, which were planned on its result.
    fn give_up(&mut self, id: MoveId, why: GivenUp, actions: &mut Vec<Action>) {
        let mut next = Some((id.0, why));
        while let Some((number, why)) = next {
            let id = MoveId(number);
            if matches!(self.moves[number as usize].state, State::Running { .. }) {
                self.queue.release(&self.moves, number);
            }
            self.queue.forget(&self.moves, number);
            self.set(id, State::GivenUp { why });
            actions.push(Action::Notify(Notice::GivenUp { id, why }));
            next = self
                .queue
                .later(number)
                .map(|later| (later, GivenUp::Earlier));
        }
    }

    /// What waits is given up; what runs goes on to its end.
    fn cancel(&mut self, actions: &mut Vec<Action>) {
        self.is_cancelled = true;
        self.resting.clear();
        for number in 0..self.moves.len() {
            self.cancel_move(MoveId(number_of(number)), actions);
        }
    }

    fn cancel_move(&mut self, id: MoveId, actions: &mut Vec<Action>) {
        let state = self.moves.get(id.0 as usize).map(|tracked| tracked.state);
        if let Some(State::Waiting | State::Resting) = state {
            self.resting.retain(|(_, number)| *number != id.0);
            self.give_up(id, GivenUp::Cancelled, actions);
        }
    }

    fn wait_again(&mut self, id: MoveId) {
        self.set(id, State::Waiting);
        self.queue.wait(id.0);
    }

    /// Starts what may run now, and asks to be woken for what rests.
    fn go_on(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some((_, number)) = self.resting.first().copied().filter(|(at, _)| *at <= now) {
            self.resting.pop_first();
            if self.moves[number as usize].state == State::Resting {
                self.wait_again(MoveId(number));
            }
        }
        while !self.is_paused
            && let Some(number) = self.queue.next(&self.moves)
        {
            let id = MoveId(number);
            self.moves[number as usize].attempts += 1;
            self.set(id, State::Running { bytes: 0 });
            actions.push(self.start_of(id));
        }
        if let Some((at, _)) = self.resting.first() {
            actions.push(Action::WakeAt(*at));
        }
    }

    fn start_of(&self, id: MoveId) -> Action {
        let tracked = &self.moves[id.0 as usize];
        Action::Start {
            id,
            planned: tracked.planned.clone(),
            attempt: tracked.attempts,
        }
    }

    fn tell_if_finished(&self, actions: &mut Vec<Action>) {
        if self.is_finished() {
            let progress = self.progress;
            actions.push(Action::Notify(Notice::Finished { progress }));
        }
    }

    fn set(&mut self, id: MoveId, state: State) {
        if cfg!(debug_assertions) {
            self.touched.push(id.0);
        }
        let tracked = &mut self.moves[id.0 as usize];
        let before = std::mem::replace(&mut tracked.state, state);
        self.progress.uncount(before);
        self.progress.count(state);
        self.progress.bytes_done -= before.bytes_of(tracked.bytes);
        self.progress.bytes_done += state.bytes_of(tracked.bytes);
    }
}

/// What a cluster says about a move.
enum Fit {
    /// Its result is there.
    Done,
    Fits,
    No,
}

fn fit(cluster: &Cluster, planned: &Move) -> Fit {
    let Some(partition) = cluster.partition(&planned.partition) else {
        return Fit::No;
    };
    let holders = &partition.holders;
    let is_done = match &planned.step {
        Step::Promote { to } => holders.first() == Some(to),
        Step::Place { to } => holders.contains(to),
        Step::Move { from, to } => holders.contains(to) && !holders.contains(from),
        Step::Drop { from } => !holders.contains(from),
    };
    if is_done {
        return Fit::Done;
    }
    match planned.step.apply(&mut holders.clone()) {
        Some(()) => Fit::Fits,
        None => Fit::No,
    }
}

fn partition_of(moves: &[Tracked], number: u32) -> &PartitionId {
    &moves[number as usize].planned.partition
}

#[cfg(test)]
mod tests;
