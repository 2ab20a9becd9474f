//! How long streams may be idle, and how many there are.

use std::time::Duration;

/// The limits of the streams of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a stream waits for its next request. 30 s.
    pub idle: Duration,
    /// How long a stream waits that has a transaction open, which holds up others. 5 s. In all a transaction lasts 30 s at most, whatever is
    /// said here.
    pub transaction_idle: Duration,
    /// How many streams there are at once. 4,096.
    pub streams_max: usize,
    /// Where clients are told to send the further requests of a stream. Without it they go where they went before, and any node passes them
    /// on.
    pub base_url: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            transaction_idle: Duration::from_secs(5),
            streams_max: 4_096,
            base_url: None,
        }
    }
}
