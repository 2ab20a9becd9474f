//! The model of a register: one value, which is written, read and exchanged.

use std::hash::Hash;

use super::Model;

/// One value. Every call is answered with the value before it, except a write, which is answered with nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register<V> {
    initial: V,
}

/// What is asked of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterCall<V> {
    /// What is the value?
    Read,
    /// Let this be the value.
    Write(V),
    /// Let `new` be the value if it is `old`, and say what it was.
    Exchange {
        /// What it is expected to be.
        old: V,
        /// What it becomes then.
        new: V,
    },
}

impl<V> Register<V> {
    /// Returns the register that holds this at first.
    #[must_use]
    pub fn new(initial: V) -> Self {
        Self { initial }
    }
}

impl<V: Clone + Eq + Hash> Model for Register<V> {
    type State = V;
    type Call = RegisterCall<V>;
    type Answer = Option<V>;

    fn initial(&self) -> V {
        self.initial.clone()
    }

    fn step(&self, state: &V, call: &RegisterCall<V>, answer: Option<&Option<V>>) -> Option<V> {
        let (before, after) = match call {
            RegisterCall::Read => (Some(state), state),
            RegisterCall::Write(value) => (None, value),
            RegisterCall::Exchange { old, new } if old == state => (Some(state), new),
            RegisterCall::Exchange { .. } => (Some(state), state),
        };
        let is_right = answer.is_none_or(|answer| answer.as_ref() == before);
        is_right.then(|| after.clone())
    }
}
