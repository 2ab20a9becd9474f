//! How long everybody waits.

use std::time::Duration;

/// How long everybody waits. All parties should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The recovery time-out: how long a commit may hold a writer. One that has not prepared loses it then; one that has
    /// asks for the outcome, at the latest. It bounds a transaction of several statements.
    pub hold: Duration,
    /// How long a part that is prepared waits to be told the outcome before it asks, if that is less: an outcome follows at once, unless somebody
    /// was lost. A commit that is asked for before it is decided does not happen.
    pub ask: Duration,
    /// How long a commit waits for a writer that another one has.
    pub wait: Duration,
    /// How long before something is said again that was not answered.
    pub retry: Duration,
    /// How long a caller asks again for the outcome before it is not known.
    pub patience: Duration,
    /// How long a decision is kept for a caller that never says that it has heard: several times the patience, since
    /// clocks differ.
    pub retention: Duration,
}

impl Default for Timing {
    /// Ten seconds to hold a writer, five to wait for one.
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(10),
            ask: Duration::from_secs(10),
            wait: Duration::from_secs(5),
            retry: Duration::from_millis(500),
            patience: Duration::from_secs(10),
            retention: Duration::from_secs(30),
        }
    }
}
