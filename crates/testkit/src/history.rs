//! Histories of what clients asked and were answered, and whether one copy that does one thing at a time could have answered so.
//!
//! [`linearize`] judges any system of which a [`Model`] says what one copy would do; [`Register`] is such a model. A log to which
//! values are appended, each another one, is judged by [`judge_appends`], which needs no search and takes histories of any length.
//!
//! Two clients write a register, and a third one reads:
//!
//! ```
//! use shardwright_testkit::history::{Operation, Register, RegisterCall, Verdict, linearize};
//! use shardwright_topology::Timestamp;
//! use std::time::Duration;
//!
//! let at = |ms| Timestamp(Duration::from_millis(ms));
//! let history = [
//!     Operation::answered(at(0), RegisterCall::Write(1), at(10), None),
//!     // Nobody knows what became of this one.
//!     Operation::unanswered(at(5), RegisterCall::Write(2)),
//!     Operation::answered(at(20), RegisterCall::Read, at(30), Some(2)),
//! ];
//! let model = Register::new(0);
//! assert!(matches!(linearize(&model, &history, 10_000), Verdict::Linearizable { .. }));
//!
//! let mut stale = history.to_vec();
//! stale.push(Operation::answered(at(40), RegisterCall::Read, at(50), Some(1)));
//! assert!(matches!(linearize(&model, &stale, 10_000), Verdict::NotLinearizable { .. }));
//! ```

mod appends;
mod linearize;
mod register;

use shardwright_topology::Timestamp;

pub use self::{
    appends::{Append, AppendOutcome, Read, Violation, judge_appends},
    linearize::{Model, Verdict, linearize},
    register::{Register, RegisterCall},
};

/// One call of a client. All moments of a history are of one clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<C, A> {
    /// When it was called, or earlier.
    pub called: Timestamp,
    /// What was asked.
    pub call: C,
    /// When it was answered, or later, and the answer. None if nobody knows whether it was done, or will be.
    pub answer: Option<(Timestamp, A)>,
}

impl<C, A> Operation<C, A> {
    /// Returns a call that was answered. One that was refused without effect is none, and is left out of a history.
    #[must_use]
    pub fn answered(called: Timestamp, call: C, at: Timestamp, answer: A) -> Self {
        let answer = Some((at, answer));
        Self {
            called,
            call,
            answer,
        }
    }

    /// Returns a call of which it is not known whether it was done.
    #[must_use]
    pub fn unanswered(called: Timestamp, call: C) -> Self {
        let answer = None;
        Self {
            called,
            call,
            answer,
        }
    }
}
