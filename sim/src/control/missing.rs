//! The rules that can be left out, each to see that its absence is noticed.

use shardwright_coordinator::{
    core::Value,
    protocol::{Ping, Pong, Report, ReportedState},
};
use shardwright_registry::LeaseTiming;
use shardwright_testkit::sim::Pid;
use shardwright_topology::{NodeState, ShardRecord, Timestamp};

use super::{Control, TIMEOUT, worker::Worker};

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A record is replaced only as it was seen.
    CompareAndSet,
    /// A worker refuses the commands of an older term.
    Term,
    /// A worker never serves again at an epoch that it let go of.
    Fence,
    /// A shard is let go before somebody else serves it.
    ReleaseFirst,
    /// A worker's lease is ended in the registry before somebody else gets what it held.
    ExpireFirst,
    /// Time is granted only once the renewal is in the registry.
    RenewFirst,
    /// A grant counts from when the worker sent the answer that is granted.
    CountedFromTheSend,
    /// A worker stops before others may act.
    HoldEndsFirst,
    /// A leader stops before others may lead.
    LeaderStopsFirst,
    /// A node is marked before its lease is ended, so that its session never gets another.
    MarkFirst,
    /// A new session gets what the one before held at a new epoch only.
    NewEpoch,
}

impl Missing {
    pub(crate) const ALL: &'static [Self] = &[
        Self::CompareAndSet,
        Self::Term,
        Self::Fence,
        Self::ReleaseFirst,
        Self::ExpireFirst,
        Self::RenewFirst,
        Self::CountedFromTheSend,
        Self::HoldEndsFirst,
        Self::LeaderStopsFirst,
        Self::MarkFirst,
        Self::NewEpoch,
    ];

    /// The timing that a coordinator works with.
    pub(super) fn timing_of(self, at: Pid) -> LeaseTiming {
        match self {
            // It acts for longer than the others wait.
            Self::LeaderStopsFirst if at == Pid(0) => {
                LeaseTiming::new(TIMEOUT * 3, TIMEOUT * 2).expect("it ends before the time-out")
            }
            _ => Control::timing(),
        }
    }

    /// What a worker's machine gets for a ping.
    pub(super) fn ping(self, now: Timestamp, worker: &mut Worker, mut ping: Ping) -> Ping {
        match self {
            Self::Term => {
                let (term, list) = worker.machine.latest();
                if ping.term < term {
                    (ping.term, ping.list) = (term, list + 1);
                }
            }
            Self::Fence => {
                if let Some(assignments) = &mut ping.assignments {
                    worker.withheld = std::mem::take(&mut assignments.release);
                }
            }
            Self::CountedFromTheSend => {
                let sent = ping.granted.and_then(|number| worker.sent.get(&number));
                let ago = sent.map_or(0, |sent| now.since(*sent).as_millis());
                ping.hold_ms += u64::try_from(ago).unwrap_or(u64::MAX);
            }
            Self::HoldEndsFirst => ping.hold_ms = ping.hold_ms * 13 / 9,
            Self::RenewFirst => {
                let latest = worker.sent.keys().next_back().copied();
                ping.granted = latest.max(ping.granted);
            }
            Self::CompareAndSet
            | Self::ReleaseFirst
            | Self::ExpireFirst
            | Self::LeaderStopsFirst
            | Self::MarkFirst
            | Self::NewEpoch => {}
        }
        ping
    }

    /// What is stored of what a coordinator writes in place of `found`.
    pub(super) fn value(self, found: Option<&Value>, value: Value) -> Value {
        match (self, found, value) {
            (Self::MarkFirst, Some(Value::Node(known)), Value::Node(record))
                if record.state == NodeState::Down =>
            {
                Value::Node(known.clone())
            }
            (Self::ExpireFirst, Some(Value::Lease(known)), Value::Lease(lease))
                if lease.holder.is_none() =>
            {
                Value::Lease(known.clone())
            }
            (Self::NewEpoch, Some(Value::Shard(known)), Value::Shard(record)) => {
                Value::Shard(at_known_epoch(known, record))
            }
            (_, _, value) => value,
        }
    }

    /// What a worker sends for an answer of its machine.
    pub(super) fn pong(self, now: Timestamp, worker: &mut Worker, mut pong: Pong) -> Pong {
        worker.sent.insert(pong.number, now);
        match self {
            Self::Fence => {
                for fence in &worker.withheld {
                    let is_held = pong
                        .shards
                        .iter()
                        .any(|each| each.partition == fence.partition);
                    if !is_held {
                        let partition = fence.partition.clone();
                        let report = Report::new(partition, fence.epoch, ReportedState::Released);
                        pong.shards.push(report);
                    }
                }
            }
            Self::ReleaseFirst => {
                for report in &mut pong.shards {
                    if report.state == ReportedState::Stopping {
                        report.state = ReportedState::Released;
                    }
                }
            }
            _ => {}
        }
        pong
    }
}

/// A record whose owner's new session goes on at the epoch of the one before.
fn at_known_epoch(known: &ShardRecord, mut record: ShardRecord) -> ShardRecord {
    if let (Some(before), Some(after)) = (&known.active, &mut record.active)
        && before.primary.node == after.primary.node
        && before.primary.incarnation != after.primary.incarnation
    {
        after.epoch = before.epoch;
        record.epoch = known.epoch;
    }
    record
}
