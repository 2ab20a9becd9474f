//! A primary to be: it fences the members of the last active configuration, and adopts the newest of their logs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use shardwright_topology::{Config, Epoch, Lsn, Member, NodeId, ReplicaId, Timestamp};

use super::{Action, Report, context::Context};
use crate::log::{Answer, Ask, Ballot, FenceAck, Log, Point, Record, Reply, Ticket};

/// The attempt to become the primary of one epoch.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    config: Config,
    ballot: Ballot,
    /// The last configuration that counted. None before the first: then nothing was ever committed.
    recover_from: Option<Config>,
    /// Whether an operator accepted that what is left may lack committed records.
    accepts_loss: bool,
    /// The last epoch whose records tell which log is the newest, if not all do: an attempt that accepted a loss and was never active may
    /// have written what stands against committed records.
    trusted: Option<Epoch>,
    zones: BTreeMap<NodeId, String>,
    /// The write of the own promise; none before it may be given.
    promise: Option<Ticket>,
    acks: BTreeMap<ReplicaId, FenceAck>,
    fetching: Option<Fetching>,
    began_at: Timestamp,
    /// When the fences are due that were not answered.
    again_at: Timestamp,
    /// How many times they were sent.
    rounds: u32,
}

/// The newest log, while its records are fetched.
#[derive(Debug, Clone)]
struct Fetching {
    from: NodeId,
    replica_id: ReplicaId,
    ack: FenceAck,
    /// Up to where this copy is known to hold the same; none if that is not known yet.
    agreed: Option<Point>,
    asked_at: Timestamp,
    heard_at: Timestamp,
}

/// How it stands with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Something is waited for.
    Waiting,
    /// The log of this copy is the one to go on from.
    Ready,
    /// The attempt is given up.
    Over,
}

/// After how many times of patience a log that is being fetched is given up, and another one looked for.
const PATIENCE_TO_FETCH: u32 = 8;

/// After how many times of patience an attempt that accepts a loss goes on with the copies that answered.
const PATIENCE_TO_LOSE: u32 = 8;

impl Recovery {
    pub(super) fn new(
        now: Timestamp,
        config: Config,
        recover_from: Option<Config>,
        loss_accepted_at: Option<Epoch>,
        zones: BTreeMap<NodeId, String>,
    ) -> Self {
        let ballot = Ballot {
            epoch: config.epoch,
            config_id: config.config_id,
        };
        let active = recover_from.as_ref().map(|active| active.epoch);
        Self {
            accepts_loss: loss_accepted_at == Some(config.epoch),
            trusted: active.filter(|active| loss_accepted_at > Some(*active)),
            config,
            ballot,
            recover_from,
            zones,
            promise: None,
            acks: BTreeMap::new(),
            fetching: None,
            began_at: now,
            again_at: now,
            rounds: 0,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn zones(&self) -> &BTreeMap<NodeId, String> {
        &self.zones
    }

    /// Takes in what a member answered.
    pub(super) fn answered(&mut self, context: &mut Context<'_>, reply: Reply) -> Standing {
        if reply.ballot != self.ballot {
            return Standing::Waiting;
        }
        match reply.answer {
            Answer::Fenced(ack) => return self.fenced(context, reply.replica_id, ack),
            Answer::Fetched { prev, records } => {
                self.took(context, reply.replica_id, prev, records);
            }
            Answer::NeedSnapshot => self.fetch_snapshot(context, reply.replica_id),
            // A primary that makes way may give its lease up at any moment, and does so soon; one that is gone never does.
            Answer::Held(left) => {
                let soon = context.settings.resend / (32 >> self.rounds.min(3));
                self.again_at = self.again_at.min(context.now + soon.min(left));
            }
            Answer::StaleEpoch(_) => {}
            Answer::OtherConfig(_) => {
                let report = Report::TwoConfigs(self.ballot.epoch);
                context.actions.push(Action::Report(report));
            }
            Answer::Appended(_)
            | Answer::Pong
            | Answer::Diverged { .. }
            | Answer::Installing
            | Answer::Faulty => {}
        }
        Standing::Waiting
    }

    fn fenced(
        &mut self,
        context: &mut Context<'_>,
        replica_id: ReplicaId,
        ack: FenceAck,
    ) -> Standing {
        let Some(recover_from) = &self.recover_from else {
            return Standing::Waiting;
        };
        let is_asked = self.asks().any(|member| member.replica_id == replica_id);
        if !is_asked || !(ack.clean || self.accepts_loss) {
            return Standing::Waiting;
        }
        if ack.gave_way == Some(recover_from.config_id) {
            context.replica.release(context.now);
        }
        let (registry, seen) = (recover_from.epoch, ack.highest_active_epoch_seen);
        if self.is_contradicted(context, registry, seen) {
            return Standing::Over;
        }
        self.acks.entry(replica_id).or_insert(ack);
        Standing::Waiting
    }

    /// Whether a copy has seen a later epoch active than the registry names. An attempt that was handed out before that one is old, and no
    /// more than that; else the registry went back in time (I21).
    fn is_contradicted(&self, context: &mut Context<'_>, registry: Epoch, seen: Epoch) -> bool {
        if seen > registry && self.ballot.epoch > seen {
            let report = Report::RegistryWentBack { registry, seen };
            context.actions.push(Action::Report(report));
        }
        seen > registry
    }

    /// Does what has become possible: promises, fences, fetches. `ticked` after some time.
    pub(super) fn advance(&mut self, context: &mut Context<'_>, ticked: bool) -> Standing {
        if context.replica.fault().is_some() {
            return Standing::Over;
        }
        let promise = match self.promise.map_or_else(|| self.promise(context), Ok) {
            Ok(promise) => promise,
            Err(standing) => return standing,
        };
        if context.replica.promised() != Some(self.ballot) {
            return Standing::Over;
        }
        // What a primary leaves behind needs no promise of others. The own one is durable before the first record of the epoch is.
        if !context.replica.has_persisted(promise) && !self.was_left() {
            return Standing::Waiting;
        }
        if ticked && context.now >= self.again_at {
            self.fence(context, |_| true);
        }
        let (own_id, own) = (context.replica.replica_id(), context.replica.fence_ack());
        if self.recover_from.is_none() {
            let seen = own.highest_active_epoch_seen;
            let is_over = self.is_contradicted(context, Epoch::UNASSIGNED, seen);
            return if is_over {
                Standing::Over
            } else {
                Standing::Ready
            };
        }
        if self.fetching.is_none() && self.fenced(context, own_id, own) == Standing::Over {
            return Standing::Over;
        }
        if self.fetching.is_none() && self.may_choose(context) {
            self.choose(context);
        }
        self.fetched(context, ticked)
    }

    /// Whether so many members of the last configuration answered that one of them has every committed record (P1), or nobody waits for that.
    fn may_choose(&self, context: &Context<'_>) -> bool {
        let Some(recover_from) = &self.recover_from else {
            return false;
        };
        let clean = self.acks.iter().filter(|(_, ack)| ack.clean);
        let clean = clean.map(|(replica_id, _)| *replica_id).collect();
        let patience = context.settings.resend * PATIENCE_TO_LOSE;
        let is_impatient = self.accepts_loss && context.now.since(self.began_at) >= patience;
        let is_fenced = recover_from.count_members(&clean) >= recover_from.recovery_quorum();
        is_impatient || is_fenced || self.was_left()
    }

    /// Whether the primary of the last configuration gave way: its log has all that was ever committed under that.
    fn was_left(&self) -> bool {
        let Some(recover_from) = &self.recover_from else {
            return false;
        };
        let left = Some(recover_from.config_id);
        self.acks.values().any(|ack| ack.gave_way == left)
    }

    /// Promises itself, as soon as no promise to somebody else stands against it. Whoever holds that promise is asked to make way.
    fn promise(&mut self, context: &mut Context<'_>) -> Result<Ticket, Standing> {
        let promised = context.replica.promised();
        let is_stale = |promised: Ballot| promised.epoch >= self.ballot.epoch;
        if promised.is_some_and(is_stale) {
            return Err(Standing::Over);
        }
        if context.replica.held_for(context.now).is_some() {
            context.replica.want(context.now, self.ballot.epoch);
            if context.now >= self.again_at {
                let holder = self.recover_from.as_ref();
                let holder = holder.map(|active| active.primary.node.clone());
                self.fence(context, |member| Some(&member.node) == holder.as_ref());
            }
            return Err(Standing::Waiting);
        }
        context.replica.promise(self.ballot, context.actions);
        let promise = context.replica.issued();
        self.promise = Some(promise);
        if !self.was_left() {
            self.fence(context, |_| true);
        }
        Ok(promise)
    }

    /// Asks those of them who have not answered.
    fn fence(&mut self, context: &mut Context<'_>, is_meant: impl Fn(&Member) -> bool) {
        self.again_at = context.now + context.settings.resend;
        self.rounds = self.rounds.saturating_add(1);
        let unanswered = self.asks().filter(|member| {
            let answered = self.acks.contains_key(&member.replica_id);
            member.node != *context.me && !answered && is_meant(member)
        });
        let nodes: BTreeSet<_> = unanswered.map(|member| member.node.clone()).collect();
        for node in nodes {
            context.ask(node, self.ballot, Duration::ZERO, Ask::Fence);
        }
    }

    /// Whose logs come into question: those of the last configuration, and if a loss is accepted, those of the next one.
    fn asks(&self) -> impl Iterator<Item = &Member> {
        let next = self.accepts_loss.then_some(&self.config);
        let configs = self.recover_from.iter().chain(next);
        configs.flat_map(|config| &config.members)
    }

    /// Chooses the newest log (P2).
    fn choose(&mut self, context: &mut Context<'_>) {
        let own_id = context.replica.replica_id();
        // Of equal logs the own one, which needs no fetching.
        let rank = |(id, ack): &(&ReplicaId, &FenceAck)| (self.rank(ack), **id == own_id);
        let Some((replica_id, ack)) = self.acks.iter().max_by_key(rank) else {
            return;
        };
        let is_chosen = |member: &&Member| member.replica_id == *replica_id;
        let Some(from) = self.asks().find(is_chosen) else {
            return;
        };
        let from = from.node.clone();
        if self.accepts_loss {
            let report = Report::AcceptsLoss {
                epoch: self.ballot.epoch,
                copies: self.acks.len(),
                last: ack.last.lsn,
            };
            context.actions.push(Action::Report(report));
        }
        self.fetching = Some(Fetching {
            from,
            replica_id: *replica_id,
            ack: ack.clone(),
            agreed: None,
            asked_at: context.now,
            heard_at: context.now,
        });
        self.fetch_more(context);
    }

    /// What logs are compared by.
    fn rank(&self, ack: &FenceAck) -> (Epoch, Lsn) {
        let Some(trusted) = self.trusted else {
            return ack.last.rank();
        };
        let last = ack.epoch_table.0.range(..=trusted).next_back();
        last.map_or(Point::default(), |(_, end)| *end).rank()
    }

    /// Takes in records of the log chosen.
    fn took(
        &mut self,
        context: &mut Context<'_>,
        replica_id: ReplicaId,
        prev: Point,
        records: Vec<Arc<Record>>,
    ) {
        let Some(fetching) = &mut self.fetching else {
            return;
        };
        let holds_prev = context.replica.log().point(prev.lsn) == Some(prev);
        let Ok(end) = Log::verify(prev, &records) else {
            return;
        };
        let fits = holds_prev && end.lsn <= fetching.ack.last.lsn;
        if fetching.replica_id == replica_id && fits {
            fetching.heard_at = context.now;
            let epoch = self.ballot.epoch;
            if context.replica.take(epoch, records, context.actions) {
                fetching.agreed = Some(end);
                self.fetch_more(context);
            }
        }
    }

    /// Asks for what is missing, or drops what is not in the log chosen.
    fn fetch_more(&mut self, context: &mut Context<'_>) {
        let Some(fetching) = &mut self.fetching else {
            return;
        };
        let log = context.replica.log();
        fetching.asked_at = context.now;
        if fetching.agreed.is_none() {
            let common = fetching.ack.epoch_table.last_common(log);
            // The newest log has all that is committed.
            let committed = log.point(context.replica.known_commit());
            let base = log.point(fetching.ack.base.lsn);
            let base = base.filter(|held| *held == fetching.ack.base);
            let places = common.into_iter().chain(committed).chain(base);
            fetching.agreed = places.max_by_key(|place| place.lsn);
        }
        let from = fetching.from.clone();
        match fetching.agreed {
            Some(agreed) if agreed == fetching.ack.last => {
                let epoch = self.ballot.epoch;
                context.replica.cut(epoch, agreed.lsn, context.actions);
            }
            Some(agreed) => {
                let ask = Ask::Fetch(agreed);
                context.ask(from, self.ballot, Duration::ZERO, ask);
            }
            None => context.actions.push(Action::FetchSnapshot { from }),
        }
    }

    fn fetch_snapshot(&mut self, context: &mut Context<'_>, replica_id: ReplicaId) {
        if let Some(fetching) = &mut self.fetching
            && fetching.replica_id == replica_id
        {
            // What is agreed upon is known anew once the snapshot is here.
            fetching.agreed = None;
            fetching.heard_at = context.now;
            let from = fetching.from.clone();
            context.actions.push(Action::FetchSnapshot { from });
        }
    }

    /// Whether all is here, and durable.
    fn fetched(&mut self, context: &mut Context<'_>, ticked: bool) -> Standing {
        let Some(fetching) = &mut self.fetching else {
            return Standing::Waiting;
        };
        let last = fetching.ack.last;
        if context.replica.log().last() == last {
            let is_durable = context.replica.durable_lsn() >= last.lsn;
            return if is_durable {
                Standing::Ready
            } else {
                Standing::Waiting
            };
        }
        let (now, patience) = (context.now, context.settings.resend);
        if now.since(fetching.heard_at) >= patience * PATIENCE_TO_FETCH {
            let lost = fetching.replica_id;
            self.acks.remove(&lost);
            // The own log has become part of the lost one: that is what it answers from now on.
            self.acks.remove(&context.replica.replica_id());
            self.fetching = None;
            self.fence(context, |_| true);
        } else if ticked && now.since(fetching.asked_at) >= patience {
            self.fetch_more(context);
        }
        Standing::Waiting
    }
}
