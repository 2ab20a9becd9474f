//! Runs what clients write, many at a time, and lets the log decide whether it happened.
//!
//! ```text
//! take what waits ─ run it in one open transaction ─ append its changes ─ the log commits ─ COMMIT
//!                        └ on the data as a record left it    └ next to that record or not at all
//! ```
//! There is one transaction at a time: a batch takes a round trip to the members, and all that comes meanwhile is the next one.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shardwright_quorum::log::{
    Level, ShardLog, StateError,
    shard_log::{Condition, Status},
};
use shardwright_registry::Clock;
use shardwright_topology::{Epoch, Lsn, Timestamp};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::{spawn_blocking, yield_now},
    time::sleep,
};

use super::{
    Ended as TransactionEnded, Memory, Over, WAITING_MAX,
    alarm::{Alarm, Caught},
    convert::fault_of,
    copy_file::{Changes, CopyFile, Ran},
    logged_file::{Fate, forgetting},
    part::Role,
    round::{Ended, Round},
    stopped,
    write::{Token, Write, WriteError, Written},
};

/// How many writes are one batch, at most.
const BATCH_MAX: usize = 256;

/// How often whatever else can run does so before a batch begins that is smaller than expected.
const GATHERING: usize = 4;

/// How long a batch may run, whatever is left to its members: less says nothing against a statement.
const RUN_MIN: Duration = Duration::from_millis(50);

/// How long the primary waits until it has a record on its disk that lets the copies forget.
const FORGETTING: Duration = Duration::from_secs(5);

/// A write that waits.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) write: Write,
    pub(super) deadline: Timestamp,
    /// When it began to run.
    pub(super) began: Timestamp,
    pub(super) claim: Claim,
    pub(super) answer: oneshot::Sender<Result<Written, WriteError>>,
}

/// Who has a write: those who wait for it, and may give it up, or the batch that it is in.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Gives the write up. `false` if it is in a batch.
    pub(super) fn give_up(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Takes the write into a batch. `false` if it was given up.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether it was given up, while it is in no batch.
    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Lets the write wait again.
    fn release(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Request {
    /// Until when it may run, if it begins then.
    fn end(&self, begin: Timestamp) -> Timestamp {
        let lasting = self.write.lasting.map(|lasting| begin + lasting);
        lasting.map_or(self.deadline, |end| end.min(self.deadline))
    }

    pub(super) fn answer(self, answer: Result<Written, WriteError>) {
        // Whoever asked may have gone.
        let _told = self.answer.send(answer);
    }
}

/// The task that runs the writes of a shard.
#[derive(Debug)]
pub(super) struct Executor {
    pub(super) log: ShardLog,
    pub(super) data: Arc<CopyFile>,
    pub(super) inbox: mpsc::Receiver<Request>,
    pub(super) clock: Clock,
    pub(super) memory: Memory,
    /// How many writes with numbers it has made since others were forgotten.
    pub(super) remembered: u64,
    /// Held while a batch is under way.
    pub(super) turn: Arc<Mutex<()>>,
    /// How many writes the next batch is likely to have.
    pub(super) expected: usize,
    /// Whether the copy stops.
    pub(super) stops: watch::Receiver<bool>,
}

impl Executor {
    /// Runs what comes, until nobody is left who could ask.
    pub(super) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let Some(request) = self.inbox.recv().await else {
                    return;
                };
                waiting.push_back(request);
            }
            self.gather(&mut waiting).await;
            if self.has_to_wait(&waiting) {
                if !self.until_one_may_go_on(&mut waiting).await {
                    return;
                }
                continue;
            }
            let turn = Arc::clone(&self.turn);
            let _turn = turn.lock().await;
            self.forget().await;
            // On data that has not come so far a batch would run in vain.
            let last = self.log.status().borrow().last.lsn;
            self.until_applied(last).await;
            let batch = self.next_batch(&mut waiting);
            if !batch.is_empty() {
                let answered = batch.len();
                let again = self.run_batch(batch).await;
                self.expected = answered + waiting.len() + self.inbox.len();
                for request in again.into_iter().rev() {
                    request.claim.release();
                    waiting.push_front(request);
                }
            }
        }
    }

    /// Whether all that waits has to wait for the prepared part of a commit over several shards.
    fn has_to_wait(&self, waiting: &VecDeque<Request>) -> bool {
        *self.data.held_by_part().borrow()
            && self.log.status().borrow().leading().is_some()
            && !*self.stops.borrow()
            && !waiting.iter().any(is_about_parts)
    }

    /// Waits until the prepared part is resolved, or something comes that is about it, or this is not the primary any more. `false` if nobody
    /// is left who could ask.
    async fn until_one_may_go_on(&mut self, waiting: &mut VecDeque<Request>) -> bool {
        let (mut held, mut status) = (self.data.held_by_part(), self.log.status());
        loop {
            tokio::select! {
                _ = held.wait_for(|is_held| !is_held) => return true,
                _ = status.wait_for(|status| status.leading().is_none()) => return true,
                () = stopped(&mut self.stops) => return true,
                request = self.inbox.recv() => {
                    let Some(request) = request else {
                        return false;
                    };
                    let goes_on = is_about_parts(&request);
                    waiting.push_back(request);
                    if goes_on {
                        return true;
                    }
                    self.turn_away(waiting);
                }
            }
        }
    }

    /// Turns away those that are late, or too many, while all have to wait.
    fn turn_away(&self, waiting: &mut VecDeque<Request>) {
        let now = self.clock.now();
        let all = std::mem::take(waiting);
        for request in all {
            if request.claim.is_given_up() {
                continue;
            }
            if now >= request.deadline || waiting.len() >= WAITING_MAX {
                request.answer(Err(WriteError::Late));
            } else {
                waiting.push_back(request);
            }
        }
    }

    /// Takes in what waits.
    ///
    /// Those who were just answered are likely to ask again at once, and share the next batch with those who waited meanwhile. Without
    /// that, clients are two groups for ever, each of which waits for the batch of the other one.
    async fn gather(&mut self, waiting: &mut VecDeque<Request>) {
        let expected = self.expected.min(BATCH_MAX);
        for round in 0..=GATHERING {
            while waiting.len() < BATCH_MAX
                && let Ok(request) = self.inbox.try_recv()
            {
                waiting.push_back(request);
            }
            if waiting.len() >= expected || round == GATHERING {
                return;
            }
            yield_now().await;
        }
    }

    /// Takes the first ones that may happen together, and turns away those that are late.
    fn next_batch(&self, waiting: &mut VecDeque<Request>) -> Vec<Request> {
        let now = self.clock.now();
        let mut batch: Vec<Request> = Vec::new();
        // Those that have to wait for the part let the others pass.
        let lets_pass = *self.data.held_by_part().borrow() && waiting.iter().any(is_about_parts);
        let mut passed = VecDeque::new();
        while let Some(request) = waiting.pop_front() {
            if lets_pass && !is_about_parts(&request) {
                passed.push_back(request);
                continue;
            }
            let is_apart = batch.first().is_some_and(|first| {
                let (first, write) = (&first.write, &request.write);
                first.exclusive || write.exclusive || first.level != write.level
            });
            if is_apart {
                waiting.push_front(request);
                break;
            }
            if !request.claim.take() {
                continue;
            }
            if now >= request.deadline {
                request.answer(Err(WriteError::Late));
            } else {
                batch.push(request);
            }
        }
        passed.append(waiting);
        *waiting = passed;
        batch
    }

    /// Runs writes, answers them, and returns those that have to run again.
    async fn run_batch(&mut self, mut batch: Vec<Request>) -> Vec<Request> {
        let (data, alarm) = (Arc::clone(&self.data), Alarm::new(self.clock));
        for (number, request) in batch.iter_mut().enumerate() {
            request.write.alarm = Some((Arc::clone(&alarm), number));
            request.began = self.clock.now();
        }
        let (over, rings) = (self.over(&batch), Arc::clone(&alarm));
        let running = spawn_blocking(move || {
            let writes = batch.iter_mut().map(|request| &mut request.write);
            let ran = data.run(&mut writes.collect::<Vec<_>>(), &rings);
            (batch, ran)
        });
        let (ran, over) = alarm.bound(running, over).await;
        match ran {
            Ok((batch, Ok(Some(ran)))) => self.decide(batch, ran).await,
            Ok((batch, Ok(None))) => {
                let over = over.unwrap_or(Over::Late);
                interrupted(batch, over, alarm.caught(), self.clock.now())
            }
            Ok((batch, Err(error))) => {
                self.stop_for(faults_in([&error])).await;
                for request in batch {
                    request.answer(Err(error.clone()));
                }
                Vec::new()
            }
            // A panic took along those who wait: for them it is not known what became of it, and nothing did.
            Err(_) => Vec::new(),
        }
    }

    /// Ends when a batch that begins now may run no longer: at the first deadline of its members, when this is not the primary any more, or
    /// when the copy stops.
    fn over(&self, batch: &[Request]) -> impl Future<Output = Over> + use<> {
        let now = self.clock.now();
        let mut status = self.log.status();
        let leading = status.borrow().leading();
        let ends = batch.iter().map(|request| request.end(now)).min();
        let late = ends.filter(|_| leading.is_some()).unwrap_or(now);
        let within = late.since(now).max(RUN_MIN);
        let mut stops = self.stops.clone();
        async move {
            let not_leading = |status: &Status| status.leading() != leading;
            tokio::select! {
                () = sleep(within) => match leading {
                    Some(_) => Over::Late,
                    None => Over::NotPrimary,
                },
                _ = status.wait_for(not_leading), if leading.is_some() => Over::NotPrimary,
                () = stopped(&mut stops) => Over::Stopped,
            }
        }
    }

    /// Lets the log decide about a batch that has run.
    async fn decide(&mut self, batch: Vec<Request>, ran: Ran) -> Vec<Request> {
        let mut round = Round::default();
        let mut again = Vec::new();
        for (mut request, fate) in batch.into_iter().zip(ran.fates) {
            match fate {
                Fate::Ran(outcome) => round.ran.push((request, outcome)),
                Fate::Refused(error) => round.refused.push((request, error)),
                Fate::Answered(answer) => request.answer(answer),
                Fate::Again => again.push(request),
                Fate::Alone => {
                    request.write.exclusive = true;
                    again.push(request);
                }
            }
        }
        let faults = faults_in(round.refused.iter().map(|(_, error)| error));
        self.stop_for(faults).await;
        match ran.changes {
            Some(changes) => {
                let mut first = self.append(round, changes).await;
                first.append(&mut again);
                first
            }
            None => {
                let mut first = round.confirm(&self.log, ran.base).await;
                first.append(&mut again);
                first
            }
        }
    }

    /// Stops the copy if its disk has failed: another one has to go on.
    async fn stop_for(&self, faults: Vec<StateError>) {
        for fault in faults {
            // One that has stopped already has nothing to stop.
            let _told = self.log.fail(fault).await;
        }
    }

    /// Lets all copies forget old outcomes, now and then.
    async fn forget(&mut self) {
        if self.remembered < self.memory.forget_every {
            return;
        }
        self.remembered = 0;
        let entry = forgetting(&self.memory.window);
        // If it is not appended, what is remembered grows until the next time.
        let _appended = self.log.append(entry, Level::One, FORGETTING).await;
    }

    /// Appends what changed, and waits until the transaction is over. Returns what has to run again.
    async fn append(&mut self, round: Round, changes: Changes) -> Vec<Request> {
        self.remembered += changes.entry.members.len() as u64;
        let (level, within) = (round.level(), round.deadline().since(self.clock.now()));
        let mut committed = changes.committed.clone();
        let mut appending = tokio::spawn(round.append(self.log.clone(), changes, within));
        let ended = tokio::select! {
            // The members that lag hold up nobody else.
            Ok(_) = committed.wait_for(|is_so| *is_so), if level == Level::All => return Vec::new(),
            ended = &mut appending => ended,
        };
        match ended {
            Ok(Ended::Reached(epoch)) => {
                self.until_over(committed, epoch).await;
                Vec::new()
            }
            Ok(Ended::Outrun { last, requests }) => {
                self.roll_back().await;
                self.until_applied(last).await;
                requests
            }
            Ok(Ended::Refused) | Err(_) => {
                self.roll_back().await;
                Vec::new()
            }
        }
    }

    /// Waits until a transaction is committed or undone, or this copy is not its primary any more: then its record may be committed as any
    /// other.
    async fn until_over(&self, mut committed: watch::Receiver<bool>, epoch: Epoch) {
        let mut status = self.log.status();
        let is_over = |status: &Status| {
            status.leading() != Some(epoch) || status.condition != Condition::Running
        };
        tokio::select! {
            biased;
            _ = committed.wait_for(|is_so| *is_so) => return,
            _ = status.wait_for(is_over) => {}
        }
        self.roll_back().await;
    }

    /// Waits until the data has a record, or this copy is not the primary.
    async fn until_applied(&self, last: Lsn) {
        let (mut status, mut places) = (self.log.status(), self.data.places());
        let has_come = |here: &Option<Token>| here.is_some_and(|here| here.lsn >= last);
        tokio::select! {
            _ = places.wait_for(has_come) => {}
            _ = status.wait_for(|status| status.leading().is_none()) => {}
        }
    }

    async fn roll_back(&self) {
        let data = Arc::clone(&self.data);
        // Only a panic is an error, and that has been reported.
        let _undone = spawn_blocking(move || data.roll_back()).await;
    }
}

/// Whether a write does not wait for a prepared part.
fn is_about_parts(request: &Request) -> bool {
    request.write.role != Role::Plain
}

/// Takes apart a batch that was interrupted, of which nothing has happened. Returns what has to run again.
fn interrupted(
    batch: Vec<Request>,
    over: Over,
    caught: Option<Caught>,
    now: Timestamp,
) -> Vec<Request> {
    let mut again = Vec::new();
    let mut last = None;
    for (number, mut request) in batch.into_iter().enumerate() {
        let caught = caught.filter(|caught| caught.member == number);
        let is_late = now >= request.end(request.began);
        match (over, caught) {
            (Over::NotPrimary, _) => request.answer(Err(WriteError::NotPrimary { hint: None })),
            (Over::Stopped, _) => request.answer(Err(WriteError::NotRunning)),
            (Over::Late, Some(caught)) if is_late && caught.after >= RUN_MIN => {
                request.answer(Err(WriteError::Ended(TransactionEnded::TooLong)));
            }
            (Over::Late, _) if is_late => request.answer(Err(WriteError::Late)),
            (Over::Late, None) => again.push(request),
            (Over::Late, Some(_)) => {
                // The others do not wait for it any more.
                request.write.exclusive = true;
                last = Some(request);
            }
        }
    }
    again.extend(last);
    again
}

/// Returns what these errors say of the disk.
fn faults_in<'e>(errors: impl IntoIterator<Item = &'e WriteError>) -> Vec<StateError> {
    let faults = errors.into_iter().filter_map(|error| match error {
        WriteError::Refused(error) => fault_of(error),
        _ => None,
    });
    faults.collect()
}
