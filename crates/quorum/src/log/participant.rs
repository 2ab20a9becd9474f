//! A copy of a shard's log, as member and, when the registry names it, as primary: one pure machine.
//!
//! ```text
//!            pending names this process                w members hold the epoch's first record,
//!          +----------------------------> recovering   the registry activates the configuration
//!  member  |  promise, fence R members of   | ready      |
//!    ^     |  the active configuration or   v            v
//!    |     +  its primary; adopt a log    primary -> active primary -+ pending names this process again:
//!    |                                      |            ^           | the next epoch begins at once
//!    +--------------------------------------+            +-----------+
//!      a higher epoch is promised, or active; the copy is set aside
//! ```
//!
//! Requests of primaries and what their answers wait for are in the replica; it obeys the highest epoch whatever the role. A process that
//! starts again is a member until the registry names its new incarnation.

mod action;
mod alarm;
mod context;
mod core;
mod event;
mod hold;
mod leadership;
mod making_way;
mod progress;
mod reads;
mod recovery;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use shardwright_topology::{
    Config, ConfigId, Epoch, Lsn, Member, NodeId, Primary, ReplicaId, ShardRecord, Timestamp,
};

pub use self::{
    action::{Action, Outcome, Report},
    event::{Event, Level, ReadLevel, Submission},
    settings::Settings,
};
use self::{
    alarm::Alarm,
    core::Core,
    hold::Hold,
    leadership::Leadership,
    making_way::{Asked, MakingWay},
    recovery::{Recovery, Standing},
};
use super::{Durable, Fault, Point, Replica, Reply, Unclean};

/// The machine of one copy.
#[derive(Debug)]
pub struct Participant {
    core: Core,
    role: Role,
    learners: BTreeSet<Member>,
    /// The last epoch that this process tried to be the primary of.
    attempted: Epoch,
    /// What the registry said at that epoch of losses that were accepted.
    data_loss_generation: u64,
    fault_reported: bool,
    alarm: Alarm,
    making_way: MakingWay,
}

/// What the copy is besides being a member.
#[derive(Debug)]
enum Role {
    Member,
    Recovering(Box<Recovery>),
    Primary(Box<Leadership>),
}

/// How far another copy is, as its primary knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// The copy.
    pub replica_id: ReplicaId,
    /// Whether it does not count.
    pub is_learner: bool,
    /// Up to where its log is known to agree, durably; 0 until it has answered in this epoch.
    pub matched: Lsn,
}

impl Participant {
    /// Returns the copy that has read back what it kept, as a member; `me` names this process and no other one before it.
    ///
    /// `applied` is the last record that the data holds, durably.
    ///
    /// # Errors
    /// [`Unclean`] if something that was durable is missing: the copy has to begin anew under a new id.
    pub fn open(
        now: Timestamp,
        me: Primary,
        settings: Settings,
        durable: Durable,
        applied: Point,
    ) -> Result<Self, Unclean> {
        let replica = Replica::open(now, durable, applied, settings.lease)?;
        let core = Core {
            me,
            settings,
            replica,
            hold: None,
            stamps: 0,
        };
        Ok(Self {
            core,
            role: Role::Member,
            learners: BTreeSet::new(),
            attempted: Epoch::UNASSIGNED,
            data_loss_generation: 0,
            fault_reported: false,
            alarm: Alarm::default(),
            making_way: MakingWay::default(),
        })
    }

    /// Opens the copy again in the same process, once a fault of its storage is gone: as a member, with what was read back, or under a new id
    /// with nothing.
    ///
    /// An attempt to be the primary that this process began before is over: what it wrote and sent then may not have been kept.
    ///
    /// # Errors
    /// [`Unclean`] if something that was durable is missing. Nothing changed.
    pub fn reopen(
        &mut self,
        now: Timestamp,
        durable: Durable,
        applied: Point,
        actions: &mut Vec<Action>,
    ) -> Result<(), Unclean> {
        let lease = self.core.settings.lease;
        self.core.replica = Replica::open(now, durable, applied, lease)?;
        self.fault_reported = false;
        self.step_down(actions);
        Ok(())
    }

    /// Returns the copy itself.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.core.replica
    }

    /// Returns the configuration that this process is the primary of, if the registry has confirmed it.
    #[must_use]
    pub fn leads(&self) -> Option<&Config> {
        match &self.role {
            Role::Primary(primary) if primary.is_active() => Some(primary.config()),
            Role::Primary(_) | Role::Recovering(_) | Role::Member => None,
        }
    }

    /// Returns whether this process is about to be the primary: the registry names it for the next epoch, and it has begun with that.
    #[must_use]
    pub fn aspires(&self) -> bool {
        match &self.role {
            Role::Primary(primary) => !primary.is_active(),
            Role::Recovering(_) => true,
            Role::Member => false,
        }
    }

    /// Returns whether a leased read would be answered now without asking anybody: no other process is the primary.
    #[must_use]
    pub fn has_lease(&self, now: Timestamp) -> bool {
        let me = self.core.replica.replica_id();
        match &self.role {
            Role::Primary(primary) => primary.has_lease(now, me),
            Role::Recovering(_) | Role::Member => false,
        }
    }

    /// Returns how often acknowledged records may have been lost before what this process leads began, with the acceptance of an operator:
    /// part of what is acknowledged. None if it leads nothing.
    #[must_use]
    pub fn data_loss_generation(&self) -> Option<u64> {
        self.leads().map(|_| self.data_loss_generation)
    }

    /// Returns whether this process has found that the registry went back in time, and the registry has not come forward again since:
    /// nothing should be decided for the shard until somebody has looked.
    #[must_use]
    pub fn saw_registry_go_back(&self) -> bool {
        self.alarm.is_raised()
    }

    /// Returns how far the other copies are, if this process is a primary.
    pub fn followers(&self) -> impl Iterator<Item = Follower> {
        let primary = match &self.role {
            Role::Primary(primary) => Some(primary),
            Role::Recovering(_) | Role::Member => None,
        };
        let all = primary.into_iter().flat_map(|primary| primary.progress());
        all.map(|(replica_id, progress)| Follower {
            replica_id,
            is_learner: progress.is_learner,
            matched: progress.matched,
        })
    }

    /// Takes in an event, and appends what the driver has to do, in this order.
    pub fn handle(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        let (mut ticked, before) = (false, actions.len());
        match event {
            Event::Request {
                from,
                call,
                request,
            } => {
                let asked = Asked {
                    from,
                    call,
                    request,
                };
                self.request(now, asked, actions);
            }
            Event::Reply { reply, .. } => self.answered(now, reply, actions),
            Event::Persisted(ticket) => self.core.replica.persisted(ticket),
            Event::PersistFailed => self.core.replica.fail(Fault::Storage),
            Event::Shard { record, zones } => self.shown(now, *record, zones, actions),
            Event::Activated(config_id) => self.activated(config_id),
            Event::Superseded(config_id) => self.superseded(config_id, actions),
            Event::Learners(learners) => self.follow(now, learners, actions),
            Event::Hold { after, lasting } => self.core.hold = Some(Hold::new(now, after, lasting)),
            Event::Submit(submissions) => self.submit(now, submissions, actions),
            Event::Read { read, level } => self.read(now, read, level, actions),
            Event::Applied(lsn) => self.core.replica.applied_up_to(lsn),
            Event::SnapshotStored(base) => self.install(base, actions),
            Event::Tick => ticked = true,
        }
        let is_idle = ticked && self.next_tick(now).is_none_or(|due| now < due);
        self.obey(actions);
        self.advance(now, ticked, actions);
        self.obey(actions);
        self.core.replica.flush(actions);
        self.alarm.note(&actions[before..]);
        debug_assert_eq!(self.check_invariants(), Ok(()));
        // What is trimmed is written down, whenever that is.
        let is_trim = |action: &Action| matches!(action, Action::Persist(..));
        debug_assert!(
            !is_idle || actions[before..].iter().all(is_trim),
            "a tick that was of no use: {:?}",
            &actions[before..]
        );
    }

    /// Returns when [`Event::Tick`] is of use next, if nothing else happens before; `None` if it is of none. A driver that ticks more often
    /// wastes only time.
    #[must_use]
    pub fn next_tick(&self, now: Timestamp) -> Option<Timestamp> {
        if self.core.replica.to_apply().is_some() || self.making_way.is_awaited() {
            return Some(now);
        }
        match &self.role {
            Role::Member => None,
            Role::Recovering(_) => Some(now),
            Role::Primary(primary) => primary.next_tick(now, &self.core.settings),
        }
    }

    /// Checks what holds after every event.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        let (replica, last) = (&self.core.replica, self.core.replica.log().last());
        if replica.known_commit() > last.lsn {
            return Err("nobody truncates what is committed (I9)");
        }
        if replica.applied() > replica.known_commit() {
            return Err("what is applied is committed (I10)");
        }
        if replica.fault().is_some() && !matches!(self.role, Role::Member) {
            return Err("a copy that is set aside is no primary");
        }
        let Role::Primary(primary) = &self.role else {
            return Ok(());
        };
        let epoch = primary.config().epoch;
        if replica.promised().map(|promised| promised.epoch) != Some(epoch) {
            return Err("a primary has promised nobody a higher epoch (R1)");
        }
        if last.epoch != epoch {
            return Err("the log of a primary ends with a record of its epoch (P3)");
        }
        Ok(())
    }

    fn answered(&mut self, now: Timestamp, reply: Reply, actions: &mut Vec<Action>) {
        let mut context = self.core.context(now, actions);
        match &mut self.role {
            Role::Member => {}
            Role::Primary(primary) => primary.answered(&mut context, reply),
            Role::Recovering(recovery) => {
                if recovery.answered(&mut context, reply) == Standing::Over {
                    self.role = Role::Member;
                }
            }
        }
    }

    /// Takes in the shard's record, which may be an old one.
    fn shown(
        &mut self,
        now: Timestamp,
        record: ShardRecord,
        zones: BTreeMap<NodeId, String>,
        actions: &mut Vec<Action>,
    ) {
        self.alarm.shown(&record);
        if let Some(active) = &record.active {
            self.core.replica.saw_active(active.epoch);
            self.activated(active.config_id);
            if self.epoch().is_some_and(|epoch| epoch < active.epoch) {
                self.step_down(actions);
            }
        }
        let active_id = record.active.as_ref().map(|active| active.config_id);
        let Some(pending) = &record.pending else {
            return;
        };
        let members = &pending.members;
        let own_id = self.core.replica.replica_id();
        if pending.primary != self.core.me {
            self.make_way(now, active_id, pending.epoch);
        } else if pending.epoch > self.attempted
            && self.core.replica.is_clean()
            && self.core.replica.fault().is_none()
            && members.iter().any(|member| member.replica_id == own_id)
        {
            self.attempt(now, record, zones, actions);
        }
    }

    /// Lets the process have its way that the registry names for the next epoch.
    fn make_way(&mut self, now: Timestamp, active_id: Option<ConfigId>, next: Epoch) {
        if let Role::Primary(primary) = &mut self.role
            && active_id == Some(primary.config().config_id)
            && primary.config().epoch < next
        {
            primary.make_way(now, next, self.core.settings.resend);
        }
    }

    /// Tries to be the primary of the pending configuration.
    fn attempt(
        &mut self,
        now: Timestamp,
        record: ShardRecord,
        zones: BTreeMap<NodeId, String>,
        actions: &mut Vec<Action>,
    ) {
        let loss_accepted_at = record.loss_accepted_at;
        let (Some(pending), active) = (record.pending, record.active) else {
            return;
        };
        self.attempted = pending.epoch;
        self.data_loss_generation = record.data_loss_generation;
        let active_id = active.as_ref().map(|active| active.config_id);
        match std::mem::replace(&mut self.role, Role::Member) {
            Role::Primary(primary)
                if active_id.is_some()
                    && primary.active_as() == active_id
                    && primary.config().epoch < pending.epoch =>
            {
                let ballot = super::Ballot {
                    epoch: pending.epoch,
                    config_id: pending.config_id,
                };
                let mut context = self.core.context(now, actions);
                context.replica.promise(ballot, context.actions);
                let next = primary.succeed(&mut context, pending, &zones, &self.learners);
                self.role = Role::Primary(Box::new(next));
            }
            before => {
                if let Role::Primary(primary) = before {
                    primary.end(actions);
                }
                let recovery = Recovery::new(now, pending, active, loss_accepted_at, zones);
                self.role = Role::Recovering(Box::new(recovery));
            }
        }
    }

    /// The epoch that this process is the primary of, or tries to be.
    fn epoch(&self) -> Option<Epoch> {
        match &self.role {
            Role::Member => None,
            Role::Recovering(recovery) => Some(recovery.config().epoch),
            Role::Primary(primary) => Some(primary.config().epoch),
        }
    }

    fn activated(&mut self, config_id: ConfigId) {
        if let Role::Primary(primary) = &mut self.role
            && primary.config().config_id == config_id
            && !primary.is_active()
        {
            primary.activated();
        }
    }

    fn superseded(&mut self, config_id: ConfigId, actions: &mut Vec<Action>) {
        if let Role::Primary(primary) = &self.role
            && primary.config().config_id == config_id
            && !primary.is_active()
        {
            self.step_down(actions);
        }
    }

    fn follow(&mut self, now: Timestamp, learners: BTreeSet<Member>, actions: &mut Vec<Action>) {
        self.learners = learners;
        let context = self.core.context(now, actions);
        if let Role::Primary(primary) = &mut self.role {
            primary.follow(&context, &self.learners);
        }
    }

    fn install(&mut self, base: Point, actions: &mut Vec<Action>) {
        // It shows that a later epoch was active.
        if self.epoch().is_some_and(|epoch| epoch < base.epoch) {
            self.step_down(actions);
        }
        self.core.replica.install(base, actions);
    }

    fn submit(&mut self, now: Timestamp, submissions: Vec<Submission>, actions: &mut Vec<Action>) {
        let mut context = self.core.context(now, actions);
        if let Role::Primary(primary) = &mut self.role {
            primary.submit(&mut context, submissions);
            return;
        }
        let refused = submissions.into_iter().map(|submission| Action::Answer {
            id: submission.id,
            outcome: Outcome::NotPrimary,
        });
        actions.extend(refused);
    }

    fn read(&mut self, now: Timestamp, read: u64, level: ReadLevel, actions: &mut Vec<Action>) {
        let mut context = self.core.context(now, actions);
        if let Role::Primary(primary) = &mut self.role {
            primary.read(&mut context, read, level);
        } else {
            let applied = None;
            actions.push(Action::ReadAt { read, applied });
        }
    }

    /// Steps down from an epoch that is not the highest one promised, or if the copy is set aside (R1).
    fn obey(&mut self, actions: &mut Vec<Action>) {
        let fault = self.core.replica.fault();
        if let Some(fault) = fault
            && !self.fault_reported
        {
            self.fault_reported = true;
            actions.push(Action::Report(Report::Faulty(fault)));
        }
        let Some(epoch) = self.epoch() else {
            return;
        };
        let promised = self.core.replica.promised().map(|promised| promised.epoch);
        if fault.is_some() || promised > Some(epoch) {
            self.step_down(actions);
        }
    }

    fn step_down(&mut self, actions: &mut Vec<Action>) {
        if let Role::Primary(primary) = std::mem::replace(&mut self.role, Role::Member) {
            primary.end(actions);
        }
    }

    fn advance(&mut self, now: Timestamp, ticked: bool, actions: &mut Vec<Action>) {
        let mut context = self.core.context(now, actions);
        if let Role::Recovering(recovery) = &mut self.role {
            match recovery.advance(&mut context, ticked) {
                Standing::Waiting => {}
                Standing::Over => self.role = Role::Member,
                Standing::Ready => {
                    let (config, zones) = (recovery.config().clone(), recovery.zones());
                    let primary = Leadership::begin(&mut context, config, zones, &self.learners);
                    self.role = Role::Primary(Box::new(primary));
                }
            }
        }
        if let Role::Primary(primary) = &mut self.role {
            primary.advance(&mut context, ticked);
        }
        self.give_way(now, actions);
    }
}

#[cfg(test)]
mod tests;
