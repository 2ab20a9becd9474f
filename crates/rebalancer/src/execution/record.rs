//! An execution as it is stored, and what must hold of it.

use serde::{Deserialize, Serialize};

use super::{Execution, Pace, Tracked, event::State, queue};
use crate::MapRevision;

/// The version of the format.
const FORMAT: u32 = 1;

/// What is stored of an execution. Everything else follows from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: u32,
    revision: MapRevision,
    pace: Pace,
    is_paused: bool,
    is_cancelled: bool,
    moves: Vec<Tracked>,
}

/// Something that cannot be an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidExecution {
    /// Another release has written it: use that one.
    #[error("format {format} of an execution is not known here, which writes {FORMAT}")]
    Format {
        /// Its format.
        format: u32,
    },
    /// More moves run at the same time than may.
    #[error("{running} moves run, and {most} may")]
    TooMany {
        /// How many run.
        running: usize,
        /// How many may.
        most: usize,
    },
    /// A move was begun before an earlier one of its partition had ended.
    #[error("a move was begun before an earlier one of its shard had ended")]
    OutOfOrder,
    /// What is derived from the moves does not agree with them.
    #[error("the queue does not agree with the moves")]
    Queue,
}

impl From<Execution> for Record {
    fn from(execution: Execution) -> Self {
        Self {
            format: FORMAT,
            revision: execution.revision,
            pace: execution.pace,
            is_paused: execution.is_paused,
            is_cancelled: execution.is_cancelled,
            moves: execution.moves,
        }
    }
}

impl TryFrom<Record> for Execution {
    type Error = InvalidExecution;

    fn try_from(record: Record) -> Result<Self, InvalidExecution> {
        let format = record.format;
        if format != FORMAT {
            return Err(InvalidExecution::Format { format });
        }
        let mut execution = Self::assemble(record.revision, record.pace, record.moves);
        execution.is_paused = record.is_paused;
        execution.is_cancelled = record.is_cancelled;
        execution.check_invariants()?;
        Ok(execution)
    }
}

impl Execution {
    /// Checks what holds of every execution, in time that grows with the number of moves that run times that of nodes.
    ///
    /// # Errors
    /// [`InvalidExecution`] with the first rule that is broken.
    pub fn check_invariants(&self) -> Result<(), InvalidExecution> {
        let running = |tracked: &&Tracked| matches!(tracked.state, State::Running { .. });
        let running = self.moves.iter().filter(running).count();
        let most = self.pace.limits.in_flight_max.get();
        if running > most {
            return Err(InvalidExecution::TooMany { running, most });
        }
        if !queue::is_in_order(&self.moves) {
            return Err(InvalidExecution::OutOfOrder);
        }
        if !self.queue.agrees_with(&self.moves) {
            return Err(InvalidExecution::Queue);
        }
        Ok(())
    }

    /// Checks what the last event may have broken, in time that grows with the number of moves that it has changed.
    pub(super) fn check_touched(&self) -> Result<(), InvalidExecution> {
        let (running, most) = (self.progress.running, self.pace.limits.in_flight_max.get());
        if running > most {
            return Err(InvalidExecution::TooMany { running, most });
        }
        let in_turn = |number: u32| {
            let later = self.queue.later(number);
            let is_in_turn = |number| self.queue.is_in_turn(&self.moves, number);
            is_in_turn(number) && later.is_none_or(is_in_turn)
        };
        let mut touched = self.touched.iter().copied();
        if !touched.clone().all(in_turn) {
            return Err(InvalidExecution::OutOfOrder);
        }
        let agrees = |number| self.queue.agrees_on(&self.moves, number);
        if self.queue.running() != running || !touched.all(agrees) {
            return Err(InvalidExecution::Queue);
        }
        Ok(())
    }
}
