//! Notices: what a manager does, and why.

use shardwright_topology::{OperationId, OperationKind, Phase};

use crate::{Planned, Resting};

/// Something that people may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The manager decided on a step by itself.
    Decided {
        /// The step and its reason.
        planned: Planned,
    },
    /// The manager would take a step by itself, and waits.
    Waits {
        /// The step and its reason.
        planned: Planned,
        /// Why it waits.
        resting: Resting,
    },
    /// The manager decided on a step by itself, which was refused.
    Refused {
        /// The step and its reason.
        planned: Planned,
        /// What was said.
        error: String,
    },
    /// An operation began.
    Begun {
        /// The operation.
        operation: OperationId,
        /// What it does.
        kind: OperationKind,
        /// Why.
        reason: String,
    },
    /// An operation is in another phase.
    Phase {
        /// The operation.
        operation: OperationId,
        /// The phase.
        phase: Phase,
    },
    /// An operation says something.
    Report {
        /// The operation.
        operation: OperationId,
        /// What it says.
        report: crate::workflow::Report,
    },
    /// What was left of an operation that is over was removed.
    Collected {
        /// The operation.
        operation: OperationId,
    },
}
