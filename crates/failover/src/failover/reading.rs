//! Reads of what nodes say of their copies, and the choices that wait for them.
//!
//! A choice is made on the answer to a read, and on nothing older: neither a report from before the fence of the primary nor one that was
//! heard of some time ago takes part in it.

use shardwright_registry::{Key, Revision};
use shardwright_topology::{NodeId, ShardId, Timestamp};

use super::Failover;
use crate::{Action, Mode, PromotionError, Reports};

/// Which read is under way, and who waits for it or for the next one.
#[derive(Debug, Default)]
pub(super) struct Reading {
    under_way: bool,
    /// When the shards without a successor want the next one.
    wanted_at: Option<Timestamp>,
    /// The newest listing that was read.
    newest: Revision,
    /// Promotions that wait for the read that is under way, and those that were asked for since it began.
    asked: Vec<Request>,
    asked_since: Vec<Request>,
}

/// A promotion that somebody asks for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ticket: u64,
    pub(super) shard: ShardId,
    pub(super) to: NodeId,
    pub(super) forced: bool,
}

impl Reading {
    /// Has the shards without a successor looked at again at a moment, or before.
    pub(super) fn want(&mut self, at: Timestamp) {
        let sooner = self.wanted_at.map_or(at, |wanted| wanted.min(at));
        self.wanted_at = Some(sooner);
    }

    /// Has a promotion wait for a read that begins after it was asked for.
    pub(super) fn ask(&mut self, request: Request) {
        self.asked_since.push(request);
    }
}

impl Failover {
    /// Asks for a read if anything waits for one.
    pub(super) fn read_reports(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let wanted = self.reading.wanted_at.is_some_and(|at| at <= now);
        let mut due = wanted && !self.wanting.is_empty();
        if due && self.config.mode == Mode::Manual {
            self.reading.wanted_at = None;
            self.tell_of_orphans(actions);
            due = false;
        }
        if self.reading.under_way || (!due && self.reading.asked_since.is_empty()) {
            return;
        }
        self.reading.under_way = true;
        self.reading.wanted_at = None;
        self.reading.asked = std::mem::take(&mut self.reading.asked_since);
        actions.push(Action::ReadReports);
    }

    /// Makes the choices that waited for a read.
    pub(super) fn reports_read(
        &mut self,
        now: Timestamp,
        reports: Option<Reports>,
        actions: &mut Vec<Action>,
    ) {
        self.reading.under_way = false;
        let requests = std::mem::take(&mut self.reading.asked);
        // A listing may lag behind one that was read before.
        let newest = self.reading.newest;
        let reports = reports.filter(|reports| newest <= reports.revision);
        if let Some(reports) = &reports {
            self.reading.newest = reports.revision;
        }
        if self.leads_at(now) && self.config.mode == Mode::Automatic {
            let all_read = self.take_over_all(reports.as_ref(), actions);
            let pause = if all_read {
                self.config.check_interval
            } else {
                self.timing.renew_every() / 4
            };
            self.reading.want(now + pause);
        }
        for request in requests {
            self.promote_on(now, request, reports.as_ref(), actions);
        }
    }

    /// Has all shards that want a successor taken over. Returns whether the reports were new enough for each.
    fn take_over_all(&mut self, reports: Option<&Reports>, actions: &mut Vec<Action>) -> bool {
        let Some(reports) = reports else {
            return self.wanting.is_empty();
        };
        let mut all_read = true;
        let wanting: Vec<Key> = self.wanting.iter().cloned().collect();
        for key in wanting {
            all_read &= self.take_over(&key, reports, actions);
        }
        all_read
    }

    /// Answers those whose promotions wait for a read that is not asked for.
    pub(super) fn turn_away(&mut self, actions: &mut Vec<Action>) {
        for request in std::mem::take(&mut self.reading.asked_since) {
            let leader = self.leader().cloned();
            actions.push(Action::Answer {
                ticket: request.ticket,
                answer: Err(PromotionError::NotLeader { leader }),
            });
        }
    }
}
