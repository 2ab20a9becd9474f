//! The latest events, for those who follow them and those who come back after a break.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rand::RngCore;
use serde::Serialize;
use tokio::sync::watch;

use crate::{clock::wall_ms, core::Notice};

/// How many events are kept, unless told otherwise.
pub const EVENTS_KEPT: usize = 10_000;

/// Names an event: which log it is in, and its number there. Shown as `9f2c6d1e00a4b7c3-17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// The log: that of one process.
    pub log: u64,
    /// Counts the events of the log from 1.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.log, self.number)
    }
}

/// A text that names no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no event")]
pub struct InvalidEventId {
    /// The text that was refused.
    pub text: String,
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let parsed = text.split_once('-').and_then(|(log, number)| {
            Some(Self {
                log: u64::from_str_radix(log, 16).ok()?,
                number: number.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| InvalidEventId {
            text: text.to_owned(),
        })
    }
}

/// An event as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedEvent {
    /// Its number in the log.
    #[serde(skip)]
    pub number: u64,
    /// When it was logged: milliseconds since the beginning of 1970.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub notice: Notice,
}

/// The latest events of one process, a bounded number of them.
#[derive(Debug)]
pub struct EventLog {
    id: u64,
    kept_max: usize,
    kept: Mutex<VecDeque<LoggedEvent>>,
    latest: watch::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::keeping(EVENTS_KEPT)
    }
}

impl EventLog {
    /// Returns an empty log that keeps the latest `kept_max` events.
    #[must_use]
    pub fn keeping(kept_max: usize) -> Self {
        Self {
            id: rand::rng().next_u64(),
            kept_max: kept_max.max(1),
            kept: Mutex::default(),
            latest: watch::Sender::new(0),
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<LoggedEvent>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event.
    pub fn push(&self, notice: Notice) {
        let mut kept = self.kept();
        let number = *self.latest.borrow() + 1;
        if kept.len() == self.kept_max {
            kept.pop_front();
        }
        kept.push_back(LoggedEvent {
            number,
            at_ms: wall_ms(),
            notice,
        });
        // While the events are locked, so that numbers are announced in their order.
        self.latest.send_replace(number);
        drop(kept);
    }

    /// Returns the name of an event of this log.
    #[must_use]
    pub fn name(&self, event: &LoggedEvent) -> EventId {
        EventId {
            log: self.id,
            number: event.number,
        }
    }

    /// Returns the number after which somebody goes on who has seen `last`: 0, before every event, if that was another log.
    #[must_use]
    pub fn after(&self, last: EventId) -> u64 {
        if last.log == self.id { last.number } else { 0 }
    }

    /// Returns the number of the latest event; 0 if there is none.
    #[must_use]
    pub fn latest(&self) -> u64 {
        *self.latest.borrow()
    }

    /// Returns the kept events after a number, at most `limit`, the oldest first.
    #[must_use]
    pub fn since(&self, number: u64, limit: usize) -> Vec<LoggedEvent> {
        let kept = self.kept();
        let from = kept.partition_point(|event| event.number <= number);
        kept.range(from..).take(limit).cloned().collect()
    }

    /// Waits until there is an event after a number.
    pub async fn wait(&self, number: u64) {
        let mut latest = self.latest.subscribe();
        // The sender lives as long as `self`, which is borrowed.
        let _seen = latest.wait_for(|latest| *latest > number).await;
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::NodeId;

    use super::*;

    fn leading(term: u64) -> Notice {
        Notice::Leading {
            coordinator: NodeId::new("c1").expect("a name"),
            term,
        }
    }

    #[test]
    fn the_latest_events_are_kept_and_replayed() {
        let log = EventLog::keeping(3);
        (1..=5).for_each(|term| log.push(leading(term)));
        let numbers = |number| -> Vec<u64> {
            let events = log.since(number, 10);
            events.iter().map(|event| event.number).collect()
        };
        assert_eq!(numbers(0), [3, 4, 5]);
        assert_eq!(numbers(4), [5]);
        assert_eq!(numbers(5), [0; 0]);
        assert_eq!(log.since(0, 1).len(), 1);
        let last = log.name(&log.since(4, 1)[0]);
        assert_eq!(last.to_string().parse(), Ok(last));
        assert_eq!(log.after(last), 5);
        assert_eq!(EventLog::default().after(last), 0, "another log");
        assert!("17".parse::<EventId>().is_err());
    }
}
