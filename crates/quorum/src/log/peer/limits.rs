//! How long a connection may take, and how much it may hold.

use std::time::Duration;

/// The limits of the connections of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long it may take to connect and to prove the token. 5 s.
    pub connect: Duration,
    /// After how long without anything from the other side a connection is given up. It is made anew when there is something to send.
    /// Longer than the heartbeat of a primary. 3 s.
    pub silence: Duration,
    /// How long one write may take. 10 s.
    pub write: Duration,
    /// For how long a part of a snapshot may be waited for. 30 s.
    pub snapshot: Duration,
    /// The first and the longest pause before another attempt to connect. 20 ms and 1 s.
    pub backoff: (Duration, Duration),
    /// How many messages wait for one connection; more are dropped, and sent again by the protocol. 4,096.
    pub queue: usize,
    /// How many bytes wait for one connection. 64 MiB.
    pub queue_bytes: usize,
    /// How many bytes one message may have: more than the largest record. 32 MiB.
    pub message_bytes: usize,
    /// How many connections of other nodes are open at once; more are refused. 1,024.
    pub connections: usize,
    /// How many of them have not yet proven the token. 64.
    pub strangers: usize,
    /// How many snapshots are sent at once. 2.
    pub snapshots: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(3),
            write: Duration::from_secs(10),
            snapshot: Duration::from_secs(30),
            backoff: (Duration::from_millis(20), Duration::from_secs(1)),
            queue: 4_096,
            queue_bytes: 64 << 20,
            message_bytes: 32 << 20,
            connections: 1_024,
            strangers: 64,
            snapshots: 2,
        }
    }
}
