//! One session of a worker: what it was told, and how long it may serve.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use shardwright_rebalancer::PartitionId;
use shardwright_topology::{Incarnation, Timestamp};

use crate::protocol::Assignment;

/// How many of its own answers a worker remembers, one of which a grant names.
const PONGS_KEPT: usize = 64;

/// What ends with the lease.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) incarnation: Incarnation,
    pub(super) patience: Duration,
    pub(super) term: u64,
    pub(super) list: u64,
    pub(super) wanted: BTreeMap<PartitionId, Assignment>,
    /// What the coordinator asked to release, to be reported.
    pub(super) released: Vec<PartitionId>,
    pongs: VecDeque<(u64, Timestamp)>,
    next_pong: u64,
    pub(super) ends_at: Option<Timestamp>,
}

impl Session {
    pub(super) fn new(incarnation: Incarnation, patience: Duration) -> Self {
        Self {
            incarnation,
            patience,
            term: 0,
            list: 0,
            wanted: BTreeMap::new(),
            released: Vec::new(),
            pongs: VecDeque::new(),
            next_pong: 1,
            ends_at: None,
        }
    }

    pub(super) fn holds_at(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| now < end)
    }

    /// Counts the lease from when the granted answer was sent, which was before the coordinator could have it.
    pub(super) fn grant(&mut self, number: u64, hold: Duration) {
        let sent = self.pongs.iter().find(|(sent, _)| *sent == number);
        if let Some(end) = sent.map(|(_, at)| *at + hold) {
            self.ends_at = self.ends_at.max(Some(end));
        }
    }

    /// Numbers an answer that is sent now, so that a grant can name it.
    pub(super) fn number_pong(&mut self, now: Timestamp) -> u64 {
        let number = self.next_pong;
        self.next_pong += 1;
        self.pongs.push_back((number, now));
        if self.pongs.len() > PONGS_KEPT {
            self.pongs.pop_front();
        }
        number
    }
}
