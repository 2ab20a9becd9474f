//! One put as a pure machine: which copies to start, when to acknowledge, what to do about failures.
//!
//! [`Put::handle`] takes what happened and appends what to do. Copies count by the node that holds them, so an answer that comes
//! twice counts once. Every failure starts one copy elsewhere while there is another peer, also after the acknowledgement. When no
//! other peer is left by then, those that failed are tried again a few times, and after that the put is reported.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use shardwright_topology::Timestamp;
use smallvec::SmallVec;

use crate::{CommitLevel, PeerIndex, Settings};

/// A node that is to hold a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Replica {
    /// This node.
    Local,
    /// A peer.
    Peer(PeerIndex),
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The put begins.
    Begin,
    /// A node has confirmed that it holds the event.
    Stored(Replica),
    /// A copy failed, or was not confirmed by its deadline.
    Failed(Replica),
    /// Time has passed.
    Tick,
    /// There is no place to wait for the repair that [`Action::WakeAt`] asked for.
    NoRepair,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Store the event there by the deadline; report the outcome.
    Start {
        /// The node that gets it.
        replica: Replica,
        /// When to take it for failed.
        deadline: Timestamp,
    },
    /// Tell the caller that the level is reached, with this many copies stored.
    Acknowledge {
        /// How many nodes have confirmed.
        copies: usize,
    },
    /// Tell the caller that the level can no longer be reached.
    Fail {
        /// How many nodes have confirmed.
        copies: usize,
    },
    /// Send [`Event::Tick`] at this moment, or [`Event::NoRepair`] at once.
    WakeAt(Timestamp),
    /// Report that an acknowledged event has fewer copies than wanted, and that nothing more is tried.
    Report {
        /// How many nodes have confirmed.
        copies: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    Pending,
    Stored,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Open,
    Acknowledged,
    Failed,
    /// Acknowledged, and given up on the missing copies.
    Reported,
}

/// The state of one put between two events.
#[derive(Debug, Clone)]
pub struct Put {
    factor: usize,
    needed: usize,
    timeout: Duration,
    repairs_left: u32,
    repair_delay: Duration,
    repair_at: Option<Timestamp>,
    copies: SmallVec<[(Replica, Copy); 8]>,
    /// Peers that stand in for those that fail, unless they have a copy.
    fallback: Arc<[PeerIndex]>,
    /// How many of them were looked at.
    looked_at: usize,
    /// Those to be repaired, last first.
    repairs: Vec<Replica>,
    answer: Answer,
}

impl Put {
    /// Returns a put that is to begin here and on the `chosen` peers, with the rest of `fallback` to stand in.
    #[must_use]
    pub fn new(
        settings: &Settings,
        level: CommitLevel,
        chosen: &[PeerIndex],
        fallback: impl Into<Arc<[PeerIndex]>>,
    ) -> Self {
        let chosen_replicas = chosen.iter().map(|peer| Replica::Peer(*peer));
        let replicas = std::iter::once(Replica::Local).chain(chosen_replicas);
        Self {
            factor: settings.replication_factor,
            needed: level.copies_needed(settings.replication_factor),
            timeout: settings.copy_timeout,
            repairs_left: settings.repairs_max,
            repair_delay: settings.repair_delay,
            repair_at: None,
            copies: replicas.map(|replica| (replica, Copy::Pending)).collect(),
            fallback: fallback.into(),
            looked_at: 0,
            repairs: Vec::new(),
            answer: Answer::Open,
        }
    }

    /// Takes in an event.
    pub fn handle(&mut self, now: Timestamp, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Begin => {
                let deadline = now + self.timeout;
                let starts = self.copies.iter().map(|(replica, _)| Action::Start {
                    replica: *replica,
                    deadline,
                });
                actions.extend(starts);
            }
            Event::Stored(replica) => self.set(replica, Copy::Stored),
            Event::Failed(replica) => {
                if self.state(replica) == Some(Copy::Pending) {
                    self.set(replica, Copy::Failed);
                }
            }
            Event::Tick => self.begin_repair(now),
            Event::NoRepair => {
                self.repairs_left = 0;
                self.repair_at = None;
            }
        }
        self.advance(now, actions);
    }

    /// Returns how many nodes have confirmed.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.tally().0
    }

    /// Returns how many copies the level needs.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.needed
    }

    fn state(&self, replica: Replica) -> Option<Copy> {
        let found = self.copies.iter().find(|(known, _)| *known == replica);
        found.map(|(_, copy)| *copy)
    }

    fn set(&mut self, replica: Replica, state: Copy) {
        let found = self.copies.iter_mut().find(|(known, _)| *known == replica);
        if let Some((_, copy)) = found {
            *copy = state;
        }
    }

    /// Makes the copies that failed the next to be tried.
    fn begin_repair(&mut self, now: Timestamp) {
        if self.repair_at.is_none_or(|at| now < at) {
            return;
        }
        self.repair_at = None;
        let failed = self.copies.iter().rev();
        let failed = failed.filter(|(_, copy)| *copy == Copy::Failed);
        self.repairs = failed.map(|(replica, _)| *replica).collect();
    }

    fn advance(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let (stored, pending) = self.tally();
        if self.answer == Answer::Open {
            if self.is_reached(stored) {
                self.answer = Answer::Acknowledged;
                actions.push(Action::Acknowledge { copies: stored });
            } else if !self.is_reachable(stored + pending) {
                self.answer = Answer::Failed;
                actions.push(Action::Fail { copies: stored });
            }
        }
        match self.answer {
            Answer::Open => {
                self.replace(now, stored + pending, actions);
            }
            Answer::Acknowledged => {
                let started = self.replace(now, stored + pending, actions);
                if pending + started == 0 && stored < self.factor {
                    self.repair_or_report(now, stored, actions);
                }
            }
            Answer::Failed | Answer::Reported => {}
        }
    }

    /// Returns how many copies are stored, and how many are under way.
    fn tally(&self) -> (usize, usize) {
        let states = self.copies.iter().map(|(_, copy)| *copy);
        states.fold((0, 0), |(stored, pending), copy| match copy {
            Copy::Stored => (stored + 1, pending),
            Copy::Pending => (stored, pending + 1),
            Copy::Failed => (stored, pending),
        })
    }

    /// Where one copy is enough, it is the local one.
    fn is_reached(&self, stored: usize) -> bool {
        match self.needed {
            1 => self.state(Replica::Local) == Some(Copy::Stored),
            needed => stored >= needed,
        }
    }

    /// Returns whether the copies that are stored or under way, or those that may stand in, can reach the level.
    fn is_reachable(&self, underway: usize) -> bool {
        match self.needed {
            1 => self.state(Replica::Local) != Some(Copy::Failed),
            needed => underway >= needed || underway + self.spares() >= needed,
        }
    }

    /// Returns how many peers are left to stand in.
    fn spares(&self) -> usize {
        let left = self.fallback[self.looked_at..].iter();
        let left = left.filter(|peer| self.state(Replica::Peer(**peer)).is_none());
        self.repairs.len() + left.count()
    }

    fn next_spare(&mut self) -> Option<Replica> {
        if let Some(replica) = self.repairs.pop() {
            return Some(replica);
        }
        while let Some(peer) = self.fallback.get(self.looked_at) {
            self.looked_at += 1;
            let replica = Replica::Peer(*peer);
            if self.state(replica).is_none() {
                return Some(replica);
            }
        }
        None
    }

    /// Starts a copy elsewhere for each that is neither stored nor under way; returns how many.
    fn replace(&mut self, now: Timestamp, underway: usize, actions: &mut Vec<Action>) -> usize {
        let missing = self.factor.saturating_sub(underway);
        for started in 0..missing {
            let Some(replica) = self.next_spare() else {
                return started;
            };
            match self.state(replica) {
                Some(_) => self.set(replica, Copy::Pending),
                None => self.copies.push((replica, Copy::Pending)),
            }
            actions.push(Action::Start {
                replica,
                deadline: now + self.timeout,
            });
        }
        missing
    }

    /// Waits for another attempt, unless that is under way or was the last one.
    fn repair_or_report(&mut self, now: Timestamp, stored: usize, actions: &mut Vec<Action>) {
        if self.repair_at.is_some() {
            return;
        }
        if self.repairs_left == 0 {
            self.answer = Answer::Reported;
            actions.push(Action::Report { copies: stored });
            return;
        }
        self.repairs_left -= 1;
        let at = now + self.repair_delay;
        self.repair_delay = self.repair_delay.saturating_mul(2);
        self.repair_at = Some(at);
        actions.push(Action::WakeAt(at));
    }
}
