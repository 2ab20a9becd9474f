//! Those who wait until their record has reached a level.

use std::collections::VecDeque;

use shardwright_topology::{Lsn, Timestamp};

use super::{Action, Outcome};
use crate::log::{Level, Point};

/// Those who wait, in the order of their records.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(VecDeque<One>);

#[derive(Debug, Clone)]
struct One {
    id: u64,
    point: Point,
    level: Level,
    deadline: Timestamp,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, id: u64, point: Point, level: Level, deadline: Timestamp) {
        self.0.push_back(One {
            id,
            point,
            level,
            deadline,
        });
    }

    /// Answers those whose record has reached its level; `reached` has the last record of each.
    pub(super) fn settle(&mut self, reached: [Lsn; 3], actions: &mut Vec<Action>) {
        let most = reached.into_iter().max().unwrap_or_default();
        if self.0.front().is_none_or(|one| one.point.lsn > most) {
            return;
        }
        self.0.retain(|one| {
            let level = match one.level {
                Level::One => reached[0],
                Level::Quorum => reached[1],
                Level::All => reached[2],
            };
            let is_reached = one.point.lsn <= level;
            if is_reached {
                let outcome = Outcome::Reached {
                    lsn: one.point.lsn,
                    epoch: one.point.epoch,
                    level: one.level,
                };
                actions.push(Action::Answer {
                    id: one.id,
                    outcome,
                });
            }
            !is_reached
        });
    }

    /// Answers those whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.0.retain(|one| {
            let is_over = one.deadline <= now;
            if is_over {
                actions.push(one.unknown());
            }
            !is_over
        });
    }

    /// Answers all: nobody knows what becomes of their records.
    pub(super) fn give_up(&mut self, actions: &mut Vec<Action>) {
        actions.extend(self.0.drain(..).map(|one| one.unknown()));
    }
}

impl One {
    fn unknown(&self) -> Action {
        let outcome = Outcome::Indeterminate;
        Action::Answer {
            id: self.id,
            outcome,
        }
    }
}
