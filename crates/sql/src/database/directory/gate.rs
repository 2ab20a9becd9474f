//! The gate: statements that find rows by their keys go through it, and while keys are moved nobody is inside.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

/// Who is inside, and who wants to be alone.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    /// Whether somebody waits to be alone; then no statement comes in before.
    is_wanted: bool,
    is_closed: bool,
}

/// Held by a statement or a transaction that is inside.
#[derive(Debug)]
pub(in crate::database) struct Pass(Arc<Gate>);

/// Held by who is alone.
#[derive(Debug)]
pub(super) struct Closed(Arc<Gate>);

impl Gate {
    /// Comes in. A transaction does so also while somebody waits to be alone: it may be what that one waits for.
    pub(super) fn enter(self: &Arc<Self>, is_transaction: bool) -> Pass {
        let mut state = self.state.lock();
        while state.is_closed || state.is_wanted && !is_transaction {
            self.changed.wait(&mut state);
        }
        state.inside += 1;
        drop(state);
        Pass(Arc::clone(self))
    }

    /// Waits until nobody is inside, and keeps others out. `None` if that takes longer than `limit`.
    pub(super) fn close(self: &Arc<Self>, limit: Duration) -> Option<Closed> {
        let mut state = self.state.lock();
        if state.is_wanted || state.is_closed {
            let is_other = |state: &mut State| state.is_wanted || state.is_closed;
            if self
                .changed
                .wait_while_for(&mut state, is_other, limit)
                .timed_out()
            {
                return None;
            }
        }
        state.is_wanted = true;
        let is_inside = |state: &mut State| state.inside > 0;
        let waited = self.changed.wait_while_for(&mut state, is_inside, limit);
        state.is_wanted = false;
        if waited.timed_out() && state.inside > 0 {
            drop(state);
            self.changed.notify_all();
            return None;
        }
        state.is_closed = true;
        drop(state);
        Some(Closed(Arc::clone(self)))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.inside -= 1;
        let is_awaited = state.inside == 0 && state.is_wanted;
        drop(state);
        if is_awaited {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.state.lock().is_closed = false;
        self.0.changed.notify_all();
    }
}
