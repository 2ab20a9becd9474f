//! How far a primary has got with one other copy.

use std::time::Duration;

use shardwright_topology::{Lsn, NodeId, Timestamp};

use crate::log::{Append, Ask, EpochTable, Log, Point, replica};

/// What a primary knows of one other copy.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) node: NodeId,
    pub(super) is_learner: bool,
    /// Up to where its log is known to agree.
    pub(super) matched: Lsn,
    /// Up to where records were sent.
    pub(super) sent: Lsn,
    /// Whether it may have anything after `matched`: then one message is sent at a time.
    is_probing: bool,
    needs_snapshot: bool,
    /// The place that the snapshot is to reach. It stays until one does: under a load of writes none would reach the last place of all.
    offered: Option<Point>,
    /// Whether nothing was heard for so long that nothing large is sent before something is.
    is_silent: bool,
    under_way: usize,
    sent_at: Timestamp,
    /// Since when something is under way and nothing was heard.
    silent_since: Timestamp,
}

impl Progress {
    /// What is known before anything was heard: the log of the copy may end at `guess`.
    pub(super) fn new(now: Timestamp, node: NodeId, is_learner: bool, guess: Lsn) -> Self {
        Self {
            node,
            is_learner,
            matched: Lsn(0),
            sent: guess,
            is_probing: true,
            needs_snapshot: false,
            offered: None,
            is_silent: false,
            under_way: 0,
            sent_at: now,
            silent_since: now,
        }
    }

    /// Returns what to send next, if anything: records that it lacks, or how far the others are.
    pub(super) fn next(
        &mut self,
        now: Timestamp,
        log: &Log,
        commit: Lsn,
        trim: Lsn,
        window: usize,
        is_due: bool,
    ) -> Option<Ask> {
        let window = if self.is_probing { 1 } else { window };
        let has_room = self.under_way < window && !self.is_silent;
        let has_more = self.sent < log.last().lsn && !self.needs_snapshot;
        if !(is_due || has_more && has_room) {
            return None;
        }
        self.sent_at = now;
        let is_new = self.is_learner || self.sent == Lsn(0);
        self.needs_snapshot |=
            is_new && !log.suffices_after(self.sent) && log.suffices_after(commit);
        let prev = log.point(self.sent).filter(|_| !self.needs_snapshot);
        let Some(prev) = prev else {
            self.needs_snapshot = true;
            let committed = || log.point(commit).unwrap_or(log.base());
            let offered = self.offered.get_or_insert_with(committed);
            return Some(Ask::Snapshot(*offered));
        };
        let records = if has_room {
            replica::some_after(log, prev.lsn)
        } else {
            Vec::new()
        };
        if self.under_way == 0 {
            self.silent_since = now;
        }
        if !records.is_empty() || self.under_way == 0 && self.is_probing {
            self.under_way += 1;
        }
        if let Some(last) = records.last() {
            self.sent = last.lsn;
        }
        Some(Ask::Append(Append {
            prev,
            records,
            commit,
            trim,
        }))
    }

    /// Returns whether it should hear something although there is nothing new.
    pub(super) fn is_quiet(&self, now: Timestamp, heartbeat: Duration) -> bool {
        now.since(self.sent_at) >= heartbeat
    }

    /// Returns when it should hear something at the latest, or when what is under way must be lost.
    pub(super) fn due(&self, heartbeat: Duration, resend: Duration) -> Timestamp {
        let quiet = self.sent_at + heartbeat;
        let lost = (self.under_way > 0).then(|| self.silent_since + resend);
        lost.map_or(quiet, |lost| lost.min(quiet))
    }

    /// Notes that nothing was heard for so long that what is under way must be lost.
    pub(super) fn give_up(&mut self, now: Timestamp, resend: Duration) {
        if self.under_way > 0 && now.since(self.silent_since) >= resend {
            self.under_way = 0;
            (self.is_probing, self.is_silent) = (true, true);
            if self.matched > Lsn(0) {
                self.sent = self.matched;
            }
        }
    }

    pub(super) fn heard(&mut self, now: Timestamp) {
        self.silent_since = now;
        self.is_silent = false;
    }

    /// Notes that its log agrees up to `lsn`.
    pub(super) fn matches(&mut self, lsn: Lsn) {
        self.under_way = self.under_way.saturating_sub(1);
        self.is_probing = false;
        self.needs_snapshot = false;
        self.offered = None;
        self.matched = self.matched.max(lsn);
        self.sent = self.sent.max(self.matched);
        if self.matched == self.sent {
            self.under_way = 0;
        }
    }

    /// Notes that what was sent does not follow its log, which ends its epochs there
    /// and begins after `base`.
    pub(super) fn diverges(&mut self, log: &Log, table: &EpochTable, base: Point) {
        self.under_way = 0;
        self.is_probing = true;
        self.offered = None;
        let base = log.point(base.lsn).filter(|held| *held == base);
        // A place in front of its base, where it cannot compare, is of no use if both hold the base.
        let common = table.last_common(log).into_iter().chain(base);
        match common.max_by_key(|common| common.lsn) {
            Some(common) => {
                self.needs_snapshot = false;
                // What it acknowledged stays: this is news from before, or of a message that overtook another one.
                self.sent = common.lsn.max(self.matched);
            }
            None if self.matched > Lsn(0) => self.sent = self.matched,
            None => self.needs_snapshot = true,
        }
    }

    /// Notes that it fetches a snapshot.
    pub(super) fn installs(&mut self) {
        self.under_way = 0;
    }
}
