//! Gates: who may run on a shard of this node, at which epoch, and who still does.
//!
//! ```text
//!            open_at(e)               shut
//! Shut(e') ------------> Open(e) ------------> Shut(e)
//!                          |  ^                  ^
//!             begin_drain  v  | reopen           | drop
//!                       Draining(e) -------------/
//! ```
//!
//! # Why no guard escapes a drain
//!
//! A gate has one word of state, and counters of running guards that are spread over several cache lines. Nobody waits for
//! anybody:
//!
//! - who enters adds 1 to a counter, *then* reads the state, and takes the 1 back unless it read `Open`;
//! - who leaves takes 1 from the counter that it added to, *then* reads the state, and wakes the drain if it is not `Open`;
//! - who drains writes `Draining`, *then* reads each counter once and again until it was 0.
//!
//! All these are sequentially consistent, so they have one order. Take a guard that entered and a counter that the drain read as 0:
//! if the guard's addition comes before that read, so does its subtraction, and the guard is gone. Otherwise the addition comes after the
//! read, hence after the write of `Draining`; and the entering read comes later still, so it sees `Draining`, or what the owner
//! wrote after the drain. Each counter is never negative, because a guard remembers which one it added to, so a sum of counters read at
//! different times hides nobody. Likewise a drain that reads a counter above 0 comes before the subtraction, so the
//! leaving read sees `Draining` and the drain is woken.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use shardwright_topology::{Epoch, ShardId};
use tokio::sync::Notify;

/// One shard's gate on this node.
#[derive(Debug)]
pub(crate) struct Gate {
    shared: Arc<Shared>,
    stripes: Box<[Arc<Stripe>]>,
}

#[derive(Debug)]
struct Shared {
    shard: ShardId,
    /// An epoch and a [`Phase`], see [`State`].
    state: AtomicU64,
    left: Notify,
}

/// A counter on a cache line of its own. It is behind a pointer of its own too, so that the guards of different threads share no
/// reference count either.
#[derive(Debug)]
#[repr(align(64))]
struct Stripe {
    running: AtomicUsize,
    shared: Arc<Shared>,
}

/// What a gate lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing: the epoch has ended on this node.
    Shut,
    /// Everybody, at the epoch.
    Open,
    /// Nothing, and a cut-over waits for those inside.
    Draining,
}

/// The state of a gate at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: Epoch,
    pub(crate) phase: Phase,
}

impl State {
    fn pack(self) -> u64 {
        // An epoch grows by one from 0 and does not reach 2^62.
        self.epoch.0 << 2 | self.phase as u64
    }

    fn unpack(word: u64) -> Self {
        let phase = match word & 3 {
            1 => Phase::Open,
            2 => Phase::Draining,
            _ => Phase::Shut,
        };
        Self {
            epoch: Epoch(word >> 2),
            phase,
        }
    }
}

/// Keeps a shard at one epoch on this node: while it lives, no cut-over of that epoch is complete.
///
/// A clone is a guard of its own. Work that outlives the call that started it, on another thread for example, takes one
/// along.
#[derive(Debug)]
#[must_use = "a guard protects nothing once it is dropped"]
pub struct Guard {
    stripe: Arc<Stripe>,
    epoch: Epoch,
}

impl Guard {
    /// Returns the shard.
    #[must_use]
    pub fn shard(&self) -> &ShardId {
        &self.stripe.shared.shard
    }

    /// Returns the epoch at which the work runs: the fencing token for whatever it writes elsewhere.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Clone for Guard {
    /// Enters again beside a guard that is inside, whatever the state of the gate: the count cannot be 0 meanwhile.
    fn clone(&self) -> Self {
        self.stripe.running.fetch_add(1, SeqCst);
        Self {
            stripe: Arc::clone(&self.stripe),
            epoch: self.epoch,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stripe.leave();
    }
}

impl Stripe {
    fn leave(&self) {
        self.running.fetch_sub(1, SeqCst);
        let state = State::unpack(self.shared.state.load(SeqCst));
        if state.phase != Phase::Open {
            self.shared.left.notify_waiters();
        }
    }
}

/// The number of counters of a gate: as many as threads that can run at once, up to 8.
fn stripes() -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    threads.next_power_of_two().min(8)
}

/// A number of this thread, for choosing a counter.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = Cell::new(NEXT.fetch_add(1, SeqCst));
    }
    // A thread that is being torn down takes the first.
    NUMBER.try_with(Cell::get).unwrap_or(0)
}

impl Gate {
    /// Returns a gate that is open at an epoch.
    pub(crate) fn open(shard: ShardId, epoch: Epoch) -> Self {
        let state = State {
            epoch,
            phase: Phase::Open,
        };
        let shared = Arc::new(Shared {
            shard,
            state: AtomicU64::new(state.pack()),
            left: Notify::new(),
        });
        let stripe = |_| {
            Arc::new(Stripe {
                running: AtomicUsize::new(0),
                shared: Arc::clone(&shared),
            })
        };
        Self {
            stripes: (0..stripes()).map(stripe).collect(),
            shared,
        }
    }

    pub(crate) fn shard(&self) -> &ShardId {
        &self.shared.shard
    }

    pub(crate) fn state(&self) -> State {
        State::unpack(self.shared.state.load(SeqCst))
    }

    /// Enters at the epoch that the gate is open at, or says why not.
    pub(crate) fn enter(&self) -> Result<Guard, State> {
        let stripe = &self.stripes[thread_number() & (self.stripes.len() - 1)];
        stripe.running.fetch_add(1, SeqCst);
        let state = self.state();
        if state.phase == Phase::Open {
            return Ok(Guard {
                stripe: Arc::clone(stripe),
                epoch: state.epoch,
            });
        }
        stripe.leave();
        Err(state)
    }

    /// Returns whether somebody is inside, or just looks in.
    pub(crate) fn is_occupied(&self) -> bool {
        let mut stripes = self.stripes.iter();
        stripes.any(|stripe| stripe.running.load(SeqCst) > 0)
    }

    /// Sets the state. Only one thread at a time does so: the router's table is locked for it.
    pub(crate) fn set(&self, state: State) {
        self.shared.state.store(state.pack(), SeqCst);
    }

    /// Waits until nobody is inside who entered before the state was set to another than open.
    pub(crate) async fn drained(&self) {
        for stripe in &self.stripes {
            loop {
                let left = self.shared.left.notified();
                tokio::pin!(left);
                // From here on a departure wakes, so one after the read is not missed.
                left.as_mut().enable();
                if stripe.running.load(SeqCst) == 0 {
                    break;
                }
                left.await;
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Shut => "shut",
            Phase::Open => "open",
            Phase::Draining => "draining",
        };
        write!(f, "{phase} at {}", self.epoch)
    }
}

#[cfg(test)]
mod tests;
