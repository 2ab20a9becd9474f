//! What is done to the processes of a scenario, their network and their store.

use std::{ops::RangeInclusive, time::Duration};

use super::Pid;
use crate::Dice;

/// What goes wrong, how often and for how long. Chances are out of 10,000.
///
/// Each seed leaves out some kinds of faults altogether, so that what needs a long time without one of them is reached too.
#[derive(Debug, Clone)]
pub struct Faults {
    /// How long a message or a call of the store takes, each way.
    pub delay: RangeInclusive<Duration>,
    /// The chance that it takes up to ten times the longest delay.
    pub slow: u32,
    /// The chance that a message is lost.
    pub loss: u32,
    /// The chance that a message arrives twice.
    pub duplicate: u32,
    /// How fast clocks may gain or lose, in parts per million.
    pub drift_ppm: u32,
    /// The time between two of the faults below, at most.
    pub every: Duration,
    /// How long each of them lasts.
    pub lasting: RangeInclusive<Duration>,
    /// The kinds that occur, with their weights.
    pub kinds: Vec<(u32, FaultKind)>,
    /// What goes wrong with the store.
    pub store: StoreFaults,
    /// How many events there are before the faults stop.
    pub events: u64,
}

/// What goes wrong with single calls of the store. Chances are out of 10,000.
#[derive(Debug, Clone)]
pub struct StoreFaults {
    /// The chance that a write is answered as unknown.
    pub unknown: u32,
    /// The chance that a write at the right revision is refused.
    pub spurious: u32,
    /// The chance that a read shows an earlier state.
    pub stale: u32,
    /// The chance that a watch ends when it should show a change.
    pub watch_ends: u32,
}

/// A fault that lasts for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A process stands still; its timers and messages pile up.
    Pause,
    /// A process loses what it knows, and starts again at the end.
    Crash,
    /// Two ends cannot reach each other.
    Cut,
    /// One end cannot reach another one, which can reach it.
    CutOneWay,
    /// A process reaches nobody, the store included.
    Isolate,
    /// The store answers nobody.
    Outage,
}

const KINDS: [(u32, FaultKind); 6] = [
    (4, FaultKind::Pause),
    (3, FaultKind::Crash),
    (3, FaultKind::Cut),
    (2, FaultKind::CutOneWay),
    (3, FaultKind::Isolate),
    (1, FaultKind::Outage),
];

impl Faults {
    /// Everything that can go wrong, for machines whose patience is `timeout`: faults last from a fraction of it to twice as long.
    pub fn around(timeout: Duration) -> Self {
        Self {
            delay: timeout / 500..=timeout / 30,
            slow: 100,
            loss: 200,
            duplicate: 100,
            drift_ppm: 20_000,
            every: timeout * 3 / 2,
            lasting: timeout / 10..=timeout * 2,
            kinds: KINDS.to_vec(),
            store: StoreFaults {
                unknown: 200,
                spurious: 100,
                stale: 1000,
                watch_ends: 50,
            },
            events: 2_000,
        }
    }

    /// Leaves out about a third of the kinds.
    pub(super) fn thin_out(&mut self, dice: &mut Dice) {
        self.kinds.retain(|_| dice.chance(65));
        let chances = [
            &mut self.slow,
            &mut self.loss,
            &mut self.duplicate,
            &mut self.store.unknown,
            &mut self.store.spurious,
            &mut self.store.stale,
            &mut self.store.watch_ends,
        ];
        for chance in chances {
            if !dice.chance(65) {
                *chance = 0;
            }
        }
    }

    /// Ends all faults but the delays.
    pub(super) fn stop(&mut self) {
        self.kinds.clear();
        (self.slow, self.loss, self.duplicate) = (0, 0, 0);
        self.store = StoreFaults {
            unknown: 0,
            spurious: 0,
            stale: 0,
            watch_ends: 0,
        };
    }
}

/// A fault, or the end of one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// The next one is drawn.
    Next,
    Resume(Pid),
    Restart(Pid),
    Heal,
    OutageEnds,
}
