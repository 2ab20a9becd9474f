//! The rules that can be left out, each to see that its absence is noticed.

use shardwright_coordinator::protocol::{Ping, Pong, Report, ReportedState};
use shardwright_registry::LeaseTiming;
use shardwright_testkit::sim::Pid;
use shardwright_topology::Timestamp;

use super::{Control, TIMEOUT, worker::Worker};

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A record is replaced only as it was seen.
    CompareAndSet,
    /// A worker never serves again at an epoch that it let go of.
    Fence,
    /// A shard is let go before somebody else serves it.
    ReleaseFirst,
    /// Time is granted only once the renewal is in the registry.
    RenewFirst,
    /// A grant counts from when the worker sent the answer that is granted.
    CountedFromTheSend,
    /// A worker stops before others may act.
    HoldEndsFirst,
    /// A leader stops before others may lead.
    LeaderStopsFirst,
}

impl Missing {
    pub(crate) const ALL: &'static [Self] = &[
        Self::CompareAndSet,
        Self::Fence,
        Self::ReleaseFirst,
        Self::RenewFirst,
        Self::CountedFromTheSend,
        Self::HoldEndsFirst,
        Self::LeaderStopsFirst,
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
            Self::CompareAndSet | Self::ReleaseFirst | Self::LeaderStopsFirst => {}
        }
        ping
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
