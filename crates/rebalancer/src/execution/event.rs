//! What an execution is told and what it answers.

use std::fmt;

use serde::{Deserialize, Serialize};
use shardwright_topology::Timestamp;

use crate::Move;

/// Names a move of one execution: its place in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MoveId(pub u32);

impl fmt::Display for MoveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "move {}", self.0)
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A running move has copied so many bytes since it was started.
    Advanced {
        /// The move.
        id: MoveId,
        /// How many bytes.
        bytes: u64,
    },
    /// A move is done: the map shows its result.
    Ended {
        /// The move.
        id: MoveId,
    },
    /// A move is not done, and nothing of it runs any more.
    Failed {
        /// The move.
        id: MoveId,
        /// What kind of failure it was.
        fault: Fault,
    },
    /// It is as late as was asked for.
    Woken,
    /// Somebody wants nothing more to be started until [`Continued`](Self::Continued).
    Paused,
    /// Somebody wants it to go on.
    Continued,
    /// Somebody wants nothing more to be started at all.
    Cancelled,
    /// Somebody wants this move not to be started, nor tried again: its partition is to stay where it is.
    Unwanted {
        /// The move.
        id: MoveId,
    },
}

/// Why a move failed, as far as that decides what is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It may work another time: a node did not answer, a store was away.
    Passing,
    /// The map is not what the move was planned on: somebody else has moved the partition.
    DoesNotFit,
    /// A safety rule says no.
    Refused,
}

/// Why a move is not done and is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenUp {
    /// The map is not what the move was planned on.
    DoesNotFit,
    /// A safety rule says no.
    Refused,
    /// It failed as often as it may be tried.
    TooOften,
    /// An earlier move of its partition was given up.
    Earlier,
    /// Somebody wanted it, or anything more, not to be started.
    Cancelled,
}

/// What the driver must do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a move, or take up one that had begun: check it against the map, do it, and say how it ended.
    Start {
        /// The move.
        id: MoveId,
        /// What is to be done.
        planned: Move,
        /// The how manieth attempt it is, from 1.
        attempt: u32,
    },
    /// Say [`Event::Woken`] at this time. An earlier request to be woken is replaced.
    WakeAt(Timestamp),
    /// Tell people and metrics.
    Notify(Notice),
}

/// What people may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Notice {
    /// A move is done.
    Ended {
        /// The move.
        id: MoveId,
    },
    /// A move failed. It is tried again unless it is given up as well.
    Failed {
        /// The move.
        id: MoveId,
        /// What kind of failure it was.
        fault: Fault,
        /// The how manieth attempt it was, from 1.
        attempt: u32,
    },
    /// A move is not done and is not tried again.
    GivenUp {
        /// The move.
        id: MoveId,
        /// Why.
        why: GivenUp,
    },
    /// Every move has ended or was given up.
    Finished {
        /// What became of them.
        progress: Progress,
    },
}

/// How far an execution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// How many moves there are.
    pub moves: usize,
    /// How many wait for their turn, or rest after a failure.
    pub waiting: usize,
    /// How many run.
    pub running: usize,
    /// How many are done.
    pub ended: usize,
    /// How many are not done and are not tried again.
    pub given_up: usize,
    /// How many bytes all moves copy, as far as that was measured.
    pub bytes: u64,
    /// How many of them were copied by moves that are done or run.
    pub bytes_done: u64,
}

impl Progress {
    pub(super) fn count(&mut self, state: State) {
        *self.of(state) += 1;
    }

    pub(super) fn uncount(&mut self, state: State) {
        *self.of(state) -= 1;
    }

    fn of(&mut self, state: State) -> &mut usize {
        match state {
            State::Waiting | State::Resting => &mut self.waiting,
            State::Running { .. } => &mut self.running,
            State::Ended => &mut self.ended,
            State::GivenUp { .. } => &mut self.given_up,
        }
    }
}

/// What became of a move so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum State {
    Waiting,
    Running {
        /// How many bytes it has copied.
        bytes: u64,
    },
    /// It failed and is tried again later.
    Resting,
    Ended,
    GivenUp {
        why: GivenUp,
    },
}

impl State {
    /// Returns how many bytes of so many are copied.
    pub(super) fn bytes_of(self, bytes: u64) -> u64 {
        match self {
            Self::Ended => bytes,
            Self::Running { bytes } => bytes,
            Self::Waiting | Self::Resting | Self::GivenUp { .. } => 0,
        }
    }
}
