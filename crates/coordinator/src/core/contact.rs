//! What a leader knows of its conversation with one worker. Nothing of it outlives the leadership.

use std::{collections::BTreeMap, time::Duration};

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Incarnation, Timestamp};

use crate::protocol::{Pong, Report, ReportedState};

/// The conversation with one session of a worker.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) incarnation: Incarnation,
    /// When this leader heard of the session, or from it.
    pub(super) heard_at: Timestamp,
    /// The number of the list that holds now.
    pub(super) list: u64,
    /// The highest list that was sent: what it says can no longer change.
    pub(super) sent_list: u64,
    /// The highest list of this term that the worker has.
    pub(super) has_list: u64,
    pub(super) next_ping: Timestamp,
    pub(super) is_pinging: bool,
    /// Pings in a row without an answer.
    pub(super) silences: u32,
    /// The answer whose renewal is being written.
    pub(super) renewing: Option<u64>,
    /// The latest answer whose renewal is written.
    pub(super) granted: Option<u64>,
    pub(super) renewed_at: Option<Timestamp>,
    pub(super) reports: BTreeMap<PartitionId, Report>,
}

/// After how many pings without an answer a worker whose session is over is pinged less often.
const SILENCES_MAX: u32 = 20;

/// How much less often.
const PAUSE_FACTOR: u32 = 8;

impl Contact {
    pub(super) fn new(incarnation: Incarnation, now: Timestamp) -> Self {
        Self {
            incarnation,
            heard_at: now,
            list: 1,
            sent_list: 0,
            has_list: 0,
            next_ping: now,
            is_pinging: false,
            silences: 0,
            renewing: None,
            granted: None,
            renewed_at: None,
            reports: BTreeMap::new(),
        }
    }

    /// What the worker is to do has changed: it is told at that moment, if not earlier.
    pub(super) fn change_list(&mut self, at: Timestamp) {
        if self.sent_list == self.list {
            self.list += 1;
        }
        self.next_ping = self.next_ping.min(at);
    }

    /// Takes in an answer. Returns whether the worker has the list that holds now.
    pub(super) fn answered(&mut self, now: Timestamp, pong: Pong, term: u64) -> bool {
        self.heard_at = now;
        self.is_pinging = false;
        self.silences = 0;
        if pong.term == term {
            self.has_list = self.has_list.max(pong.list);
        }
        let reports = pong.shards.into_iter();
        self.reports = reports
            .map(|report| (report.partition.clone(), report))
            .collect();
        pong.term == term && pong.list == self.list
    }

    pub(super) fn silent(&mut self) {
        self.is_pinging = false;
        self.silences += 1;
    }

    /// How long to wait for the next ping when nothing changes.
    pub(super) fn pause(&self, check_interval: Duration, is_down: bool) -> Duration {
        // One that was cut off for a short time must soon hear that its session is over; one that is gone for good costs little.
        if is_down && SILENCES_MAX <= self.silences {
            check_interval * PAUSE_FACTOR
        } else {
            check_interval
        }
    }

    /// Whether the worker has said that it will not serve the shard at that epoch again.
    pub(super) fn has_released(
        &self,
        partition: &PartitionId,
        epoch: shardwright_topology::Epoch,
    ) -> bool {
        self.reports.get(partition).is_some_and(|report| {
            matches!(
                report.state,
                ReportedState::Released | ReportedState::Failed
            ) && epoch <= report.epoch
        })
    }
}
