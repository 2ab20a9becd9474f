//! A primary: it begins an epoch, appends, and finds out what is committed.

mod hand_over;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use shardwright_topology::{Config, ConfigId, Epoch, Lsn, Member, NodeId, ReplicaId, Timestamp};

use self::{hand_over::HandOver, waiting::Waiting};
use super::{
    Action, Outcome, ReadLevel, Report, Settings, Submission, context::Context, progress::Progress,
    reads::Reads,
};
use crate::log::{Answer, Ask, Ballot, Kind, Record, Reply, Tally};

/// The primary of one epoch.
#[derive(Debug, Clone)]
pub(super) struct Leadership {
    config: Config,
    ballot: Ballot,
    /// The record that the epoch begins with.
    start: Lsn,
    tally: Tally,
    commit: Lsn,
    peers: BTreeMap<ReplicaId, Progress>,
    waiting: Waiting,
    reads: Reads,
    /// The configuration in which this process was active last, without a break since.
    active_as: Option<ConfigId>,
    activation_asked: Option<Timestamp>,
    /// For whom it makes way.
    hand_over: Option<HandOver>,
    /// When it committed something last, or somebody read.
    busy_at: Timestamp,
    reported: bool,
}

/// For how many heartbeats the members are spoken to as often as that after something has happened.
const BUSY_HEARTBEATS: u32 = 10;

impl Leadership {
    /// Begins an epoch after the log of this copy, which holds all that was ever committed.
    pub(super) fn begin(
        context: &mut Context<'_>,
        config: Config,
        zones: &BTreeMap<NodeId, String>,
        learners: &BTreeSet<Member>,
    ) -> Self {
        let ballot = Ballot {
            epoch: config.epoch,
            config_id: config.config_id,
        };
        let last = context.replica.log().last();
        let first = Record::after(last, ballot.epoch, Kind::Epoch, Vec::new(), Vec::new());
        let start = first.lsn;
        context
            .replica
            .append_own(vec![Arc::new(first)], context.actions);
        let mut leadership = Self {
            tally: Tally::new(&config, zones, start),
            commit: Lsn(0),
            peers: BTreeMap::new(),
            waiting: Waiting::default(),
            reads: Reads::default(),
            active_as: None,
            activation_asked: None,
            hand_over: None,
            busy_at: context.now,
            reported: false,
            config,
            ballot,
            start,
        };
        leadership.follow(context, learners);
        leadership
    }

    /// Goes on in another configuration, of which this process was the active primary just before. What waits goes on waiting; what was
    /// acknowledged and promised under the earlier epoch does not count.
    pub(super) fn succeed(
        mut self,
        context: &mut Context<'_>,
        config: Config,
        zones: &BTreeMap<NodeId, String>,
        learners: &BTreeSet<Member>,
    ) -> Self {
        let mut next = Self::begin(context, config, zones, learners);
        for (replica_id, progress) in &mut next.peers {
            let before = self.peers.get(replica_id).map(|before| before.matched);
            if let Some(matched) = before.filter(|matched| *matched > Lsn(0)) {
                progress.sent = matched.min(progress.sent);
            }
        }
        next.waiting = std::mem::take(&mut self.waiting);
        self.reads
            .drain()
            .into_iter()
            .for_each(|read| next.reads.wait(read));
        next.active_as = self.active_as;
        next
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn is_active(&self) -> bool {
        self.tally.is_active()
    }

    /// Returns in which configuration this process was active last.
    pub(super) fn active_as(&self) -> Option<ConfigId> {
        self.active_as
    }

    /// Returns how far each other copy is known to agree.
    pub(super) fn progress(&self) -> impl Iterator<Item = (ReplicaId, &Progress)> {
        self.peers.iter().map(|(id, progress)| (*id, progress))
    }

    /// Keeps the other members and these learners up to date, and nobody else.
    pub(super) fn follow(&mut self, context: &Context<'_>, learners: &BTreeSet<Member>) {
        let guess = Lsn(self.start.0 - 1);
        let members = &self.config.members;
        let wanted = members.iter().map(|member| (member, false));
        let learners = learners.difference(members).map(|member| (member, true));
        let wanted: Vec<_> = wanted.chain(learners).collect();
        self.peers
            .retain(|id, _| wanted.iter().any(|(member, _)| member.replica_id == *id));
        for (member, is_learner) in wanted {
            if member.replica_id != context.replica.replica_id() {
                let node = member.node.clone();
                let new = || Progress::new(context.now, node, is_learner, guess);
                self.peers.entry(member.replica_id).or_insert_with(new);
            }
        }
    }

    /// Appends records, and lets their authors wait.
    pub(super) fn submit(&mut self, context: &mut Context<'_>, submissions: Vec<Submission>) {
        let (log, committed) = (context.replica.log(), context.replica.known_commit());
        let (mut last, mut bytes) = (log.last(), log.bytes_after(committed));
        let mut records = Vec::with_capacity(submissions.len());
        for submission in submissions {
            let id = submission.id;
            let outrun = submission.after.is_some_and(|after| after != last.lsn);
            let outrun = outrun.then_some(Outcome::Outrun { last: last.lsn });
            if let Some(outcome) = self.refuses(context, bytes).or(outrun) {
                context.actions.push(Action::Answer { id, outcome });
                continue;
            }
            let record = Record::after(
                last,
                self.ballot.epoch,
                submission.kind,
                submission.members,
                submission.payload,
            );
            last = record.point();
            bytes += record.size() as u64;
            self.waiting
                .push(id, last, submission.level, submission.deadline);
            records.push(Arc::new(record));
        }
        if !records.is_empty() {
            context.replica.append_own(records, context.actions);
        }
    }

    /// Why no record is taken now, if those that are not committed have so many bytes.
    fn refuses(&self, context: &Context<'_>, bytes: u64) -> Option<Outcome> {
        let Context { now, settings, .. } = context;
        let makes_way = |way: &HandOver| way.refuses_records(*now, settings.resend);
        if self.hand_over.as_ref().is_some_and(makes_way) {
            return Some(Outcome::NotPrimary);
        }
        let is_full = bytes >= settings.waiting_bytes;
        (is_full || self.waiting.len() >= settings.waiting_max).then_some(Outcome::Overloaded)
    }

    /// Returns whether no other process can be the primary now, and this one has begun.
    pub(super) fn has_lease(&self, now: Timestamp, me: ReplicaId) -> bool {
        let has_started = self.is_active() && self.commit >= self.start;
        has_started && self.reads.has_lease(now, &self.config, me)
    }

    pub(super) fn read(&mut self, context: &mut Context<'_>, read: u64, level: ReadLevel) {
        self.busy_at = context.now;
        let me = context.replica.replica_id();
        if level == ReadLevel::Leased && self.has_lease(context.now, me) {
            let applied = Some(self.commit);
            context.actions.push(Action::ReadAt { read, applied });
        } else if self.reads.waiting() >= context.settings.waiting_max {
            let applied = None;
            context.actions.push(Action::ReadAt { read, applied });
        } else {
            self.reads.wait(read);
        }
    }

    /// Takes in what another copy answered in this epoch.
    pub(super) fn answered(&mut self, context: &mut Context<'_>, reply: Reply) {
        let Reply {
            ballot,
            stamp,
            lease,
            replica_id,
            answer,
        } = reply;
        if ballot != self.ballot {
            return;
        }
        let Some(progress) = self.peers.get_mut(&replica_id) else {
            return;
        };
        if answer.is_obedient() {
            progress.heard(context.now);
            self.reads.heard(replica_id, stamp.number);
            let until = Timestamp(stamp.at) + context.settings.usable(lease);
            self.reads.promised(replica_id, until);
        }
        match answer {
            Answer::Appended(lsn) => {
                progress.matches(lsn);
                self.tally.acknowledge(ballot.epoch, replica_id, lsn);
            }
            Answer::Diverged {
                epoch_table, base, ..
            } => {
                progress.diverges(context.replica.log(), &epoch_table, base);
            }
            Answer::Installing => progress.installs(),
            Answer::OtherConfig(_) => {
                let report = Report::TwoConfigs(ballot.epoch);
                context.actions.push(Action::Report(report));
            }
            // A fence of a higher epoch may fail, and then this one goes on: the registry decides who is primary.
            Answer::StaleEpoch(_) | Answer::Faulty => {}
            Answer::Fenced(_)
            | Answer::Fetched { .. }
            | Answer::Pong
            | Answer::NeedSnapshot
            | Answer::Held(_) => {}
        }
    }

    /// Learns that the registry has this configuration active.
    pub(super) fn activated(&mut self) {
        self.tally.activated();
        self.active_as = Some(self.config.config_id);
    }

    /// Learns that the registry names another process for a later epoch. That asks for itself soon; if it cannot, this one takes no more
    /// records for a while, and gives up its leases, which hold that process up, once those who wait have been answered.
    pub(super) fn make_way(&mut self, now: Timestamp, epoch: Epoch, patience: Duration) {
        if self.hand_over.is_none_or(|known| known.epoch < epoch) {
            self.hand_over = Some(HandOver::named(now, epoch, patience));
        }
    }

    /// Is asked to make way for a later epoch: takes no more records, and gives way as soon as those who wait have been answered.
    pub(super) fn asked_to_make_way(&mut self, now: Timestamp, epoch: Epoch) {
        let known = self.hand_over.filter(|known| known.is_asked);
        if known.is_none_or(|known| known.epoch < epoch) {
            self.hand_over = Some(HandOver::asked(now, epoch));
        }
    }

    /// Returns whether it is time to give way to a process on this node, which asked: nobody waits, and that one has all records; or they have had
    /// their time.
    pub(super) fn may_give_way(&self, context: &Context<'_>, to: &NodeId) -> bool {
        let last = context.replica.log().last().lsn;
        let lags = |peer: &Progress| peer.node == *to && peer.matched < last;
        let is_waited_for = self.waiting.len() > 0 || self.peers.values().any(lags);
        let hand_over = self.hand_over.as_ref();
        hand_over.is_some_and(|way| way.is_due(context.now, context.settings.resend, is_waited_for))
    }

    fn give_up_leases(&mut self, context: &mut Context<'_>) {
        let (patience, is_waited_for) = (context.settings.resend, self.waiting.len() > 0);
        let hand_over = self.hand_over.as_ref();
        let is_due = hand_over.is_some_and(|way| way.is_due(context.now, patience, is_waited_for));
        if is_due && self.reads.give_up_leases() {
            self.ping(context);
        }
    }

    /// For how long members are asked to refuse higher fences.
    fn lease(&self, context: &Context<'_>) -> Duration {
        if self.reads.has_given_up() {
            Duration::ZERO
        } else {
            context.settings.lease
        }
    }

    fn ping(&self, context: &mut Context<'_>) {
        let lease = self.lease(context);
        for progress in self.peers.values().filter(|peer| !peer.is_learner) {
            context.ask(progress.node.clone(), self.ballot, lease, Ask::Ping);
        }
    }

    /// Does what has become possible: activates, commits, answers, asks and sends. `ticked` after some time.
    pub(super) fn advance(&mut self, context: &mut Context<'_>, ticked: bool) {
        let (me, durable) = (context.replica.replica_id(), context.replica.durable_lsn());
        self.tally.acknowledge(self.ballot.epoch, me, durable);
        self.activate(context);
        if let Some(commit) = self.tally.commit().filter(|commit| *commit > self.commit) {
            self.commit = commit;
            self.busy_at = context.now;
            context.replica.commit(commit);
        }
        if self.is_active() {
            if !self.reported {
                self.reported = true;
                let report = Report::Leading(self.ballot.epoch);
                context.actions.push(Action::Report(report));
            }
            let reached = [durable, self.commit, self.commit.min(self.tally.all())];
            self.waiting.settle(reached, context.actions);
        }
        if ticked {
            self.waiting.expire(context.now, context.actions);
            self.trim(context);
        }
        self.give_up_leases(context);
        self.serve_reads(context);
        self.replicate(context, ticked);
    }

    fn activate(&mut self, context: &mut Context<'_>) {
        let patience = context.settings.resend;
        let asked = self.activation_asked;
        let is_due = asked.is_none_or(|asked| context.now.since(asked) >= patience);
        if !self.is_active() && is_due && self.tally.may_activate() {
            self.activation_asked = Some(context.now);
            let activate = Action::Activate(self.config.config_id);
            context.actions.push(activate);
        }
    }

    fn serve_reads(&mut self, context: &mut Context<'_>) {
        let me = context.replica.replica_id();
        let has_started = self.is_active() && self.commit >= self.start;
        let patience = context.settings.resend;
        loop {
            if self.reads.asks(context.now, *context.stamps, patience) {
                self.ping(context);
            }
            let answered = self.reads.take_round(&self.config, me, has_started);
            let Some(reads) = answered else {
                return;
            };
            // What is committed now is no less than what was when they came.
            let applied = Some(self.commit);
            let answers = reads.into_iter();
            let answers = answers.map(|read| Action::ReadAt { read, applied });
            context.actions.extend(answers);
        }
    }

    /// Returns when time has to pass for it next.
    pub(super) fn next_tick(&self, now: Timestamp, settings: &Settings) -> Option<Timestamp> {
        let makes_way = self.hand_over.is_some() && !self.reads.has_given_up();
        let is_waited_for = self.waiting.len() > 0 || self.reads.waiting() > 0;
        if !self.is_active() || makes_way || is_waited_for {
            return Some(now);
        }
        let heartbeat = self.heartbeat(now, settings);
        let peers = self.peers.values();
        peers.map(|peer| peer.due(heartbeat, settings.resend)).min()
    }

    /// How often members are spoken to that have all records: less often once nothing has happened for long, and so that their promises
    /// just do not lapse.
    fn heartbeat(&self, now: Timestamp, settings: &Settings) -> Duration {
        if now.since(self.busy_at) < settings.heartbeat * BUSY_HEARTBEATS {
            settings.heartbeat
        } else {
            let lapses = settings.usable(settings.lease);
            settings.heartbeat.max(lapses / 4 * 3)
        }
    }

    fn replicate(&mut self, context: &mut Context<'_>, ticked: bool) {
        let trim = self.trimmable(context);
        let (settings, now, lease) = (context.settings, context.now, self.lease(context));
        let heartbeat = self.heartbeat(now, settings);
        for progress in self.peers.values_mut() {
            if ticked {
                progress.give_up(now, settings.resend);
            }
            let mut is_due = ticked && progress.is_quiet(now, heartbeat);
            while let Some(ask) = progress.next(
                now,
                context.replica.log(),
                self.commit,
                trim,
                settings.window,
                is_due,
            ) {
                is_due = false;
                context.ask(progress.node.clone(), self.ballot, lease, ask);
            }
        }
    }

    /// Up to where nobody needs the records.
    fn trimmable(&self, context: &Context<'_>) -> Lsn {
        let settings = context.settings;
        let last = context.replica.log().last().lsn.0;
        let mut held = self.commit.0.saturating_sub(settings.retain);
        for progress in self.peers.values() {
            let patience = if progress.is_learner {
                settings.retain
            } else {
                settings.retain_max
            };
            if last.saturating_sub(progress.matched.0) <= patience {
                held = held.min(progress.matched.0);
            }
        }
        let hold = context.hold;
        if let Some(after) = hold.and_then(|hold| hold.held(context.now, last, settings.retain_max))
        {
            held = held.min(after);
        }
        let held = Lsn(held - held % settings.trim_step.max(1));
        // The room in memory comes before who lags.
        let full = context.replica.log().last_bytes(settings.retain_bytes);
        held.max(full.min(self.commit))
    }

    fn trim(&self, context: &mut Context<'_>) {
        let trim = self.trimmable(context);
        context.replica.trim(trim, context.actions);
    }

    /// Refuses all that waits.
    pub(super) fn end(mut self, actions: &mut Vec<Action>) {
        self.waiting.give_up(actions);
        let applied = None;
        let reads = self.reads.drain().into_iter();
        actions.extend(reads.map(|read| Action::ReadAt { read, applied }));
        if self.reported {
            let report = Report::SteppedDown(self.ballot.epoch);
            actions.push(Action::Report(report));
        }
    }
}
