//! What a leader knows of its conversation with one worker. Nothing of it outlives the leadership.

use std::{collections::BTreeMap, time::Duration};

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Incarnation, Timestamp};

use crate::protocol::{
    CopyInstruction, CopyState, CopyTrouble, Pong, Report, ReportedState, TroubleKind,
};

/// The conversation with one session of a worker.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) incarnation: Incarnation,
    /// When this leader heard of the session, or from it.
    pub(super) heard_at: Timestamp,
    /// When it answered last.
    answered_at: Option<Timestamp>,
    /// The term whose leader it answered last.
    answered_term: u64,
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
    /// Answers in a row that spoke of something begun and not yet done.
    unfinished: u32,
    /// The answer whose renewal is being written.
    pub(super) renewing: Option<u64>,
    /// The latest answer whose renewal is written.
    pub(super) granted: Option<u64>,
    pub(super) renewed_at: Option<Timestamp>,
    pub(super) reports: BTreeMap<PartitionId, Report>,
    /// What it keeps of shards that commit on several members; `None` if it keeps no such copies.
    pub(super) copies: Option<Vec<CopyState>>,
    /// Which of them do not work.
    pub(super) troubles: Vec<CopyTrouble>,
    /// Of which of them people were told that they do not work. It outlives the session.
    pub(super) told: BTreeMap<PartitionId, TroubleKind>,
    /// What it is to do with them, as soon as it is pinged.
    pub(super) instructions: Vec<CopyInstruction>,
}

/// After how many pings without an answer a worker whose session is over is pinged less often.
const SILENCES_MAX: u32 = 20;

/// How much less often.
const PAUSE_FACTOR: u32 = 8;

/// How much more often whoever keeps copies is asked: how far they are decides what becomes of them.
const COPIES_FRACTION: u32 = 4;

/// What is waited for is asked after this fraction of the check interval, and then ever less often.
const SOON_FRACTION: u32 = 16;

impl Contact {
    pub(super) fn new(incarnation: Incarnation, now: Timestamp) -> Self {
        Self {
            incarnation,
            heard_at: now,
            answered_at: None,
            answered_term: 0,
            list: 1,
            sent_list: 0,
            has_list: 0,
            next_ping: now,
            is_pinging: false,
            silences: 0,
            unfinished: 0,
            renewing: None,
            granted: None,
            renewed_at: None,
            reports: BTreeMap::new(),
            copies: None,
            troubles: Vec::new(),
            told: BTreeMap::new(),
            instructions: Vec::new(),
        }
    }

    /// What the worker is to do has changed: it is told at that moment, if not earlier.
    pub(super) fn change_list(&mut self, at: Timestamp) {
        if self.sent_list == self.list {
            self.list += 1;
            self.unfinished = 0;
        }
        self.next_ping = self.next_ping.min(at);
    }

    /// Takes in an answer. Returns whether the worker has the list that holds now.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        pong: Pong,
        term: u64,
        check_interval: Duration,
    ) -> bool {
        (self.heard_at, self.answered_at) = (now, Some(now));
        self.is_pinging = false;
        self.silences = 0;
        if pong.term == term {
            self.answered_term = term;
            self.has_list = self.has_list.max(pong.list);
        }
        self.copies = pong.copies;
        self.troubles = pong.troubles;
        let reports = pong.shards.into_iter();
        self.reports = reports
            .map(|report| (report.partition.clone(), report))
            .collect();
        if self.reports.values().any(is_unfinished) {
            // Others may wait for what the worker is about to let go of, or to serve.
            self.ask_soon(now, check_interval, self.unfinished);
            self.unfinished += 1;
        } else {
            self.unfinished = 0;
        }
        pong.term == term && pong.list == self.list
    }

    /// Has the worker told what to do with a copy, at once.
    pub(super) fn instruct(&mut self, now: Timestamp, instruction: CopyInstruction) {
        if !self.instructions.contains(&instruction) {
            self.instructions.push(instruction);
        }
        self.next_ping = self.next_ping.min(now);
    }

    /// Whether an answer of it came less than that ago.
    pub(super) fn has_answered_within(&self, now: Timestamp, time: Duration) -> bool {
        self.answered_at.is_some_and(|at| now.since(at) < time)
    }

    /// Whether it has answered the leader of a term, and so has said what it keeps.
    pub(super) fn has_answered_in(&self, term: u64) -> bool {
        self.answered_term == term
    }

    /// Takes in that a ping was not answered.
    pub(super) fn silent(&mut self, now: Timestamp, check_interval: Duration) {
        self.is_pinging = false;
        // A message was lost, or the worker does not know its new session yet.
        self.ask_soon(now, check_interval, self.silences);
        self.silences += 1;
    }

    /// Brings the next ping forward, the less the more often that was done already.
    fn ask_soon(&mut self, now: Timestamp, check_interval: Duration, times: u32) {
        let factor = 1_u32.checked_shl(times).unwrap_or(SOON_FRACTION);
        if factor < SOON_FRACTION {
            let soon = check_interval / SOON_FRACTION * factor;
            self.next_ping = self.next_ping.min(now + soon);
        }
    }

    /// How long to wait for the next ping when nothing changes.
    pub(super) fn pause(&self, check_interval: Duration, is_down: bool) -> Duration {
        // One that was cut off for a short time must soon hear that its session is over; one that is gone for good costs little.
        if is_down && SILENCES_MAX <= self.silences {
            check_interval * PAUSE_FACTOR
        } else if self.copies.is_some() {
            check_interval / COPIES_FRACTION
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

fn is_unfinished(report: &Report) -> bool {
    matches!(
        report.state,
        ReportedState::Starting | ReportedState::Stopping
    )
}

#[cfg(test)]
mod tests {
    use shardwright_topology::Epoch;

    use super::*;

    const CHECK_INTERVAL: Duration = Duration::from_millis(1_600);

    /// After how many milliseconds the next ping is due, with one shard in that state.
    fn next_ping_after(contact: &mut Contact, now: Timestamp, state: ReportedState) -> u128 {
        contact.next_ping = now + CHECK_INTERVAL;
        let report = Report {
            partition: PartitionId::from(shardwright_topology::ShardId::numbered(1)),
            epoch: Epoch(1),
            state,
            error: None,
            position: None,
            in_sync: None,
        };
        let pong = Pong {
            version: crate::protocol::VERSION,
            node: shardwright_topology::NodeId::new("a").unwrap(),
            incarnation: contact.incarnation,
            left: None,
            leaves: false,
            number: 1,
            term: 1,
            list: contact.list,
            shards: vec![report],
            copies: None,
            troubles: Vec::new(),
        };
        assert!(contact.answered(now, pong, 1, CHECK_INTERVAL));
        contact.next_ping.since(now).as_millis()
    }

    #[test]
    fn what_a_worker_has_begun_is_asked_about_soon_and_then_less_often() {
        let now = Timestamp::default();
        let mut contact = Contact::new(Incarnation(1), now);
        let starting =
            [(); 6].map(|()| next_ping_after(&mut contact, now, ReportedState::Starting));
        assert_eq!(starting, [100, 200, 400, 800, 1_600, 1_600]);
        let serving = next_ping_after(&mut contact, now, ReportedState::Serving);
        assert_eq!(serving, 1_600);
        let stopping = next_ping_after(&mut contact, now, ReportedState::Stopping);
        assert_eq!(stopping, 100);
    }

    #[test]
    fn a_worker_that_is_silent_for_long_is_asked_no_more_often_than_others() {
        let now = Timestamp::default();
        let mut contact = Contact::new(Incarnation(1), now);
        let silent = [(); 40].map(|()| {
            contact.next_ping = now + CHECK_INTERVAL;
            contact.silent(now, CHECK_INTERVAL);
            contact.next_ping.since(now).as_millis()
        });
        assert_eq!(silent[..4], [100, 200, 400, 800]);
        assert!(silent[4..].iter().all(|after| *after == 1_600));
    }
}
