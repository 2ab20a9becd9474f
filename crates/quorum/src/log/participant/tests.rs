//! Copies with one another, on a network and disks that do as they are told.

mod hand_over;
mod loss;
mod registry;

use std::time::Duration;

use shardwright_topology::{Incarnation, Proposal, ReplicaId};

use super::*;
use crate::log::{Answer, Ask, Durable, Kind, Request, Ticket};

fn node(bits: u128) -> NodeId {
    NodeId::new(format!("n{bits}")).expect("a name")
}

fn replica_id(bits: u128) -> ReplicaId {
    ReplicaId::from_bits(bits)
}

fn bits(node: &NodeId) -> u128 {
    node.as_str()[1..].parse().expect("a node of this test")
}

/// Copies whose messages and writes are carried out at once, unless somebody cannot be reached.
struct Cluster {
    now: Timestamp,
    copies: BTreeMap<u128, Participant>,
    away: BTreeSet<u128>,
    record: ShardRecord,
    /// Whether the registry confirms activations.
    confirms: bool,
    /// Where a snapshot is that is on its way, and up to where it reaches, if they take their time.
    fetching: Option<Option<(u128, Point)>>,
    /// What the driver of a copy was told that is for others than copies.
    told: Vec<(u128, Action)>,
}

impl Cluster {
    fn new(copies: u128) -> Self {
        Self::with(copies, 0)
    }

    /// The same, of copies that keep so many records for others.
    fn with(copies: u128, retain: u64) -> Self {
        let open = |bits| {
            let me = Primary {
                node: node(bits),
                incarnation: Incarnation(1),
            };
            let durable = Durable::new(replica_id(bits));
            let settings = Settings {
                retain,
                trim_step: 1,
                waiting_max: 3,
                ..Settings::default()
            };
            let now = Timestamp::default();
            let copy = Participant::open(now, me, settings, durable, Point::default());
            (bits, copy.expect("it lacks nothing"))
        };
        let shard = "shard-0".parse().expect("a name");
        Self {
            now: Timestamp::default(),
            copies: (1..=copies).map(open).collect(),
            away: BTreeSet::new(),
            record: ShardRecord::new("main".parse().expect("a name"), shard, None),
            confirms: true,
            fetching: None,
            told: Vec::new(),
        }
    }

    /// Lets a configuration be pending, and shows its primary.
    fn name(&mut self, primary: u128, members: &[u128]) {
        let epoch = self.record.epoch.next();
        let member = |bits: &u128| Member {
            node: node(*bits),
            replica_id: replica_id(*bits),
        };
        let proposal = Proposal {
            config_id: ConfigId::from_bits(epoch.0.into()),
            primary: Primary {
                node: node(primary),
                incarnation: Incarnation(1),
            },
            members: members.iter().map(member).collect(),
            w: Config::majority(members.len()),
            zones: 1,
        };
        self.record.epoch = epoch;
        self.record.pending = Some(proposal.at(epoch));
        self.show(primary);
    }

    fn show(&mut self, to: u128) {
        let record = Box::new(self.record.clone());
        let zones = BTreeMap::new();
        self.feed(to, Event::Shard { record, zones });
    }

    fn feed(&mut self, to: u128, event: Event) {
        let mut actions = Vec::new();
        let copy = self.copies.get_mut(&to).expect("a copy of this test");
        copy.handle(self.now, event, &mut actions);
        assert_eq!(copy.check_invariants(), Ok(()));
        for action in actions {
            self.carry_out(to, action);
        }
    }

    fn carry_out(&mut self, at: u128, action: Action) {
        match action {
            Action::Persist(ticket, _) => self.feed(at, Event::Persisted(ticket)),
            Action::Send { to, request } if self.reaches(at, bits(&to)) => {
                let (from, call) = (node(at), u64::try_from(at).expect("few copies"));
                self.feed(
                    bits(&to),
                    Event::Request {
                        from,
                        call,
                        request,
                    },
                );
            }
            Action::Reply(call, reply) if self.reaches(at, call.into()) => {
                let from = node(at);
                self.feed(call.into(), Event::Reply { from, reply });
            }
            Action::Send { .. } | Action::Reply(..) => {}
            Action::Activate(config_id) if self.confirms => {
                self.record = self.record.activate(config_id).expect("it is pending");
                self.feed(at, Event::Activated(config_id));
            }
            Action::Apply(lsn) => self.feed(at, Event::Applied(lsn)),
            Action::FetchSnapshot { from } => {
                let from = &self.copies[&bits(&from)];
                let log = from.replica().log();
                let base = log.point(from.replica().known_commit());
                let base = base.expect("it is held");
                match &mut self.fetching {
                    Some(fetching) => _ = fetching.get_or_insert((at, base)),
                    None => self.feed(at, Event::SnapshotStored(base)),
                }
            }
            other => self.told.push((at, other)),
        }
    }

    fn reaches(&self, from: u128, to: u128) -> bool {
        !self.away.contains(&from) && !self.away.contains(&to)
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let all: Vec<_> = self.copies.keys().copied().collect();
        for copy in all {
            self.feed(copy, Event::Tick);
        }
    }

    fn submit(&mut self, to: u128, id: u64, level: Level) {
        self.submit_after(to, id, level, None);
    }

    fn submit_after(&mut self, to: u128, id: u64, level: Level, after: Option<Lsn>) {
        let submission = self.submission(id, Kind::Batch);
        let submission = Submission {
            after,
            level,
            ..submission
        };
        self.feed(to, Event::Submit(vec![submission]));
    }

    fn submit_kind(&mut self, to: u128, id: u64, kind: Kind) {
        let submission = self.submission(id, kind);
        self.feed(to, Event::Submit(vec![submission]));
    }

    fn submission(&self, id: u64, kind: Kind) -> Submission {
        Submission {
            id,
            kind,
            members: Vec::new(),
            payload: id.to_be_bytes().to_vec(),
            after: None,
            level: Level::All,
            deadline: self.now + Duration::from_secs(1),
        }
    }

    /// What has become of writes and reads since the last time.
    fn outcomes(&mut self) -> Vec<Action> {
        let told = self.told.drain(..).map(|(_, action)| action);
        told.filter(|action| matches!(action, Action::Answer { .. } | Action::ReadAt { .. }))
            .collect()
    }

    fn last(&self, copy: u128) -> (Epoch, Lsn) {
        self.copies[&copy].replica().log().last().rank()
    }
}

fn reached(id: u64, lsn: u64, epoch: u64, level: Level) -> Action {
    let outcome = Outcome::Reached {
        lsn: Lsn(lsn),
        epoch: Epoch(epoch),
        level,
    };
    Action::Answer { id, outcome }
}

#[test]
fn nothing_is_acknowledged_before_the_registry_confirms_the_activation() {
    let mut cluster = Cluster::new(3);
    cluster.confirms = false;
    cluster.name(1, &[1, 2, 3]);
    for (id, level) in [(1, Level::One), (2, Level::Quorum), (3, Level::All)] {
        cluster.submit(1, id, level);
    }
    cluster.submit(1, 4, Level::One);
    let (id, outcome) = (4, Outcome::Overloaded);
    assert_eq!(cluster.outcomes(), [Action::Answer { id, outcome }]);
    assert_eq!(cluster.copies[&2].replica().known_commit(), Lsn(0));
    cluster.record = cluster
        .record
        .activate(ConfigId::from_bits(1))
        .expect("it is pending");
    cluster.show(1);
    let all = [
        reached(1, 2, 1, Level::One),
        reached(2, 3, 1, Level::Quorum),
        reached(3, 4, 1, Level::All),
    ];
    assert_eq!(cluster.outcomes(), all);
    cluster.submit(2, 5, Level::One);
    let (id, outcome) = (5, Outcome::NotPrimary);
    assert_eq!(cluster.outcomes(), [Action::Answer { id, outcome }]);
}

#[test]
fn a_record_made_from_the_data_follows_what_it_was_made_from() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.submit_after(1, 1, Level::Quorum, Some(Lsn(1)));
    cluster.submit_after(1, 2, Level::Quorum, Some(Lsn(1)));
    let (id, outcome) = (2, Outcome::Outrun { last: Lsn(2) });
    assert_eq!(
        cluster.outcomes(),
        [
            reached(1, 2, 1, Level::Quorum),
            Action::Answer { id, outcome }
        ]
    );
    // Another epoch has begun since, and was another primary's for all that this one knows.
    cluster.name(1, &[1, 2]);
    cluster.submit_after(1, 3, Level::Quorum, Some(Lsn(2)));
    let (id, outcome) = (3, Outcome::Outrun { last: Lsn(3) });
    assert_eq!(cluster.outcomes(), [Action::Answer { id, outcome }]);
    cluster.submit_after(1, 4, Level::Quorum, Some(Lsn(3)));
    assert_eq!(cluster.outcomes(), [reached(4, 4, 2, Level::Quorum)]);
}

#[test]
fn the_newest_log_is_adopted_and_another_suffix_is_dropped() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [2, 3].into();
    cluster.submit(1, 1, Level::Quorum);
    cluster.submit(1, 2, Level::Quorum);
    assert_eq!(cluster.last(1), (Epoch(1), Lsn(3)));
    cluster.away = [1].into();
    cluster.pass(Duration::from_secs(2));
    let (outcome, expired) = (Outcome::Indeterminate, cluster.outcomes());
    assert_eq!(expired, [1, 2].map(|id| Action::Answer { id, outcome }));
    cluster.name(2, &[1, 2, 3]);
    cluster.submit(2, 3, Level::Quorum);
    assert_eq!(cluster.outcomes(), [reached(3, 3, 2, Level::Quorum)]);
    cluster.away.clear();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(
        cluster.last(1),
        (Epoch(2), Lsn(3)),
        "its records were never committed"
    );
    // The first one is named again, and has to fetch what it has not.
    cluster.away = [1].into();
    cluster.submit(2, 4, Level::Quorum);
    cluster.away = [2].into();
    cluster.pass(Duration::from_secs(2));
    cluster.name(1, &[1, 2, 3]);
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.last(1), (Epoch(3), Lsn(5)));
    assert_eq!(cluster.copies[&1].replica().known_commit(), Lsn(5));
}

#[test]
fn a_primary_goes_on_in_another_configuration_without_a_fence() {
    let mut cluster = Cluster::new(4);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [2, 3].into();
    cluster.submit(1, 1, Level::Quorum);
    cluster.name(1, &[1, 4]);
    assert_eq!(
        cluster.outcomes(),
        [reached(1, 2, 1, Level::Quorum)],
        "it waits on, and is committed by the new members"
    );
    assert_eq!(cluster.last(4), (Epoch(2), Lsn(3)));
}

#[test]
fn a_process_tries_an_epoch_once() {
    let mut cluster = Cluster::new(3);
    cluster.away = [2, 3].into();
    cluster.name(1, &[1, 2, 3]);
    let last = cluster.last(1);
    cluster.show(1);
    assert_eq!(cluster.last(1), last);
    cluster.feed(1, Event::Superseded(ConfigId::from_bits(1)));
    cluster.show(1);
    assert_eq!(cluster.last(1), last);
}

#[test]
fn a_read_needs_a_lease_or_answers_that_are_younger() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.submit(1, 1, Level::Quorum);
    cluster.outcomes();
    cluster.away = [2, 3].into();
    let read = |cluster: &mut Cluster, read, level| {
        cluster.feed(1, Event::Read { read, level });
        cluster.outcomes()
    };
    let applied = Some(Lsn(2));
    assert_eq!(
        read(&mut cluster, 1, ReadLevel::Leased),
        [Action::ReadAt { read: 1, applied }]
    );
    assert_eq!(read(&mut cluster, 2, ReadLevel::Consistent), []);
    // Of the second that was promised the margin for the drift is taken.
    cluster.now = cluster.now + Duration::from_millis(950);
    assert_eq!(read(&mut cluster, 3, ReadLevel::Leased), []);
    cluster.away = [3].into();
    cluster.pass(Duration::from_secs(1));
    let answers = [2, 3].map(|read| Action::ReadAt { read, applied });
    assert_eq!(cluster.outcomes(), answers);
}

#[test]
fn a_learner_does_not_count_and_may_need_a_snapshot() {
    let mut cluster = Cluster::new(4);
    cluster.name(1, &[1, 2, 3]);
    for id in 1..=3 {
        cluster.submit(1, id, Level::All);
    }
    cluster.pass(Duration::from_secs(1));
    cluster.pass(Duration::from_secs(1));
    let base = cluster.copies[&1].replica().log().base().lsn;
    assert!(base > Lsn(0), "what all hold is dropped");
    let learner = Member {
        node: node(4),
        replica_id: replica_id(4),
    };
    cluster.feed(1, Event::Learners([learner].into()));
    for _ in 0..4 {
        cluster.pass(Duration::from_secs(1));
    }
    assert_eq!(cluster.last(4), cluster.last(1));
    let followers: Vec<_> = cluster.copies[&1].followers().collect();
    let learner = Follower {
        replica_id: replica_id(4),
        is_learner: true,
        matched: Lsn(4),
    };
    assert!(followers.contains(&learner), "{followers:?}");
    cluster.outcomes();
    cluster.away = [2, 3].into();
    cluster.submit(1, 9, Level::Quorum);
    assert_eq!(cluster.last(4).1, Lsn(5), "it has the record");
    assert_eq!(cluster.outcomes(), [], "which is not committed");
}

#[test]
fn a_learner_catches_up_although_each_snapshot_is_old_when_it_is_there() {
    let mut cluster = Cluster::with(4, 100);
    cluster.name(1, &[1, 2, 3]);
    let mut id = 0;
    let mut write = |cluster: &mut Cluster, count: u64| {
        for _ in 0..count {
            id += 1;
            cluster.submit(1, id, Level::Quorum);
            cluster.pass(Duration::from_millis(100));
        }
    };
    write(&mut cluster, 120);
    assert!(cluster.copies[&1].replica().log().base().lsn > Lsn(0));
    let learner = Member {
        node: node(4),
        replica_id: replica_id(4),
    };
    cluster.fetching = Some(None);
    cluster.feed(1, Event::Learners([learner].into()));
    for _ in 0..3 {
        // Others write while it is on its way.
        write(&mut cluster, 10);
        if let Some((at, base)) = cluster.fetching.take().flatten() {
            cluster.feed(at, Event::SnapshotStored(base));
        }
        cluster.fetching = Some(None);
    }
    assert_eq!(cluster.last(4), cluster.last(1));
}

#[test]
fn a_copy_that_was_not_there_gets_a_snapshot_in_place_of_what_others_began_with() {
    let mut cluster = Cluster::new(4);
    for copy in cluster.copies.values_mut() {
        copy.core.settings.retain = 100;
    }
    cluster.name(1, &[1, 2, 3]);
    cluster.submit_kind(1, 1, Kind::SplitBase);
    cluster.submit(1, 2, Level::All);
    let learner = Member {
        node: node(4),
        replica_id: replica_id(4),
    };
    cluster.feed(1, Event::Learners([learner].into()));
    for _ in 0..4 {
        cluster.pass(Duration::from_secs(1));
    }
    assert_eq!(cluster.last(4), cluster.last(1));
    let base = |copy: u128| cluster.copies[&copy].replica().log().base().lsn;
    assert_eq!(base(1), Lsn(0), "nothing is dropped");
    assert!(Lsn(2) <= base(4), "it has no record of what it lacks");
}

#[test]
fn records_that_somebody_reads_are_kept_for_a_while() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    let base = |cluster: &Cluster| cluster.copies[&1].replica().log().base().lsn;
    let (after, lasting) = (Lsn(1), Duration::from_secs(3));
    cluster.feed(1, Event::Hold { after, lasting });
    for id in 1..=3 {
        cluster.submit(1, id, Level::All);
    }
    for _ in 0..2 {
        cluster.pass(Duration::from_secs(1));
    }
    assert!(base(&cluster) <= after);
    for _ in 0..3 {
        cluster.pass(Duration::from_secs(1));
    }
    assert!(after < base(&cluster));
}

#[test]
fn an_attempt_waits_for_the_lease_that_its_own_copy_promised() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [1].into();
    cluster.name(2, &[1, 2, 3]);
    assert_eq!(
        cluster.copies[&2].replica().promised().map(|it| it.epoch),
        Some(Epoch(1))
    );
    cluster.pass(Duration::from_millis(900));
    assert_eq!(cluster.last(2).0, Epoch(1));
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.last(2).0, Epoch(2));
}

#[test]
fn a_failed_write_ends_the_copy_and_its_epoch() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.away = [2, 3].into();
    cluster.submit(1, 1, Level::Quorum);
    cluster.told.clear();
    cluster.feed(1, Event::PersistFailed);
    let (id, outcome) = (1, Outcome::Indeterminate);
    let told: Vec<_> = cluster.told.drain(..).map(|(_, action)| action).collect();
    assert_eq!(
        told,
        [
            Action::Report(Report::Faulty(Fault::Storage)),
            Action::Answer { id, outcome },
            Action::Report(Report::SteppedDown(Epoch(1))),
        ]
    );
    let ballot = super::super::Ballot {
        epoch: Epoch(9),
        config_id: ConfigId::from_bits(9),
    };
    let request = Request {
        ballot,
        stamp: super::super::Stamp::default(),
        lease: Duration::ZERO,
        ask: Ask::Ping,
    };
    let (from, call) = (node(9), 7);
    let mut actions = Vec::new();
    let event = Event::Request {
        from,
        call,
        request,
    };
    let copy = cluster.copies.get_mut(&1).expect("a copy");
    copy.handle(cluster.now, event, &mut actions);
    copy.handle(cluster.now, Event::Persisted(Ticket(99)), &mut actions);
    assert!(
        matches!(&actions[..], [Action::Reply(7, reply)] if reply.answer == Answer::Faulty),
        "{actions:?}"
    );
}

#[test]
fn records_take_no_more_memory_than_allowed() {
    let mut cluster = Cluster::new(3);
    cluster.name(1, &[1, 2, 3]);
    cluster.submit(1, 1, Level::Quorum);
    let one = cluster.copies[&1].replica().log().bytes_after(Lsn(1));
    for copy in cluster.copies.values_mut() {
        copy.core.settings.retain = 1_000;
        copy.core.settings.retain_bytes = 4 * one;
        copy.core.settings.waiting_bytes = 2 * one;
    }
    // One member that lags holds back no more than that.
    cluster.away = [3].into();
    for id in 2..10 {
        cluster.submit(1, id, Level::Quorum);
    }
    cluster.pass(Duration::from_secs(1));
    cluster.pass(Duration::from_secs(1));
    for copy in [1, 2] {
        let log = cluster.copies[&copy].replica().log();
        assert_eq!((log.last().lsn, log.base().lsn), (Lsn(10), Lsn(6)));
    }
    // It goes on with a snapshot.
    cluster.away.clear();
    for _ in 0..3 {
        cluster.pass(Duration::from_secs(1));
    }
    assert_eq!(cluster.last(3), cluster.last(1));
    // What is not committed cannot be dropped.
    cluster.away = [2, 3].into();
    cluster.outcomes();
    for id in 20..24 {
        cluster.submit(1, id, Level::One);
    }
    let full = cluster.outcomes().into_iter().map(|action| match action {
        Action::Answer { outcome, .. } => outcome == Outcome::Overloaded,
        _ => panic!("{action:?}"),
    });
    assert_eq!(full.collect::<Vec<_>>(), [false, false, true, true]);
}
