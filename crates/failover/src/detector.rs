//! Detection: which nodes are silent for too long, as one observer sees it.
//!
//! ```text
//!           heard                     silent for half of the time-out           silent for all of it
//! (unknown) -----> up <--heard-- suspect <-------------------------- up ... suspect ----------------> down
//!                   ^--- heard steadily, the longer the more often it went down ----------------------'
//! ```
//!
//! Silence is counted only while the observer itself is awake: when it was stopped for a while, or its machine was, everybody seems
//! silent, and nobody is taken for dead. A verdict is an opinion. What follows from it is decided by leases and epochs.

use std::{collections::BTreeMap, time::Duration};

use shardwright_topology::{Incarnation, NodeId, Timestamp};

use crate::Config;

/// What an observer learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A process of a node showed that it is alive.
    Heard {
        /// The node.
        node: NodeId,
        /// Its process. An older one than was heard before counts for nothing.
        incarnation: Incarnation,
    },
    /// A node said that it goes.
    Left {
        /// The node.
        node: NodeId,
    },
    /// A node was removed from the system.
    Removed {
        /// The node.
        node: NodeId,
    },
    /// Time has passed. At least each check interval.
    Tick,
}

/// What an observer makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A node is alive, for the first time or again.
    Up {
        /// The node.
        node: NodeId,
        /// Its process.
        incarnation: Incarnation,
    },
    /// A node is silent for half of the time-out.
    Suspect {
        /// The node.
        node: NodeId,
    },
    /// A process is gone: it was silent for the time-out, left, or another process runs in its place, whose `Up` follows.
    Down {
        /// The node.
        node: NodeId,
        /// The process.
        incarnation: Incarnation,
    },
}

/// What one observer thinks of each node.
#[derive(Debug, Clone)]
pub struct Detector {
    check_interval: Duration,
    timeout: Duration,
    nodes: BTreeMap<NodeId, Watched>,
    /// How long the observer was awake, and when it last noticed that.
    awake: Duration,
    noticed: Option<Timestamp>,
}

/// The moments are times that the observer was awake.
#[derive(Debug, Clone)]
struct Watched {
    incarnation: Incarnation,
    heard_at: Duration,
    health: Health,
    /// How often it went down without having been up for long.
    falls: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Up {
        since: Duration,
    },
    Suspect {
        up_since: Duration,
    },
    /// Since when it is heard again.
    Down {
        heard_since: Option<Duration>,
    },
}

/// After how many time-outs without a fall a node has a clean slate.
const STEADY_TIMEOUTS: u32 = 10;

/// For how many time-outs a node that falls again and again is heard at most before it is up.
const PROOF_TIMEOUTS_MAX: u32 = 4;

impl Detector {
    /// Returns a detector that has heard of nobody.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            check_interval: config.check_interval,
            timeout: config.heartbeat_timeout,
            nodes: BTreeMap::new(),
            awake: Duration::ZERO,
            noticed: None,
        }
    }

    /// Takes in one observation, and appends what changes.
    pub fn handle(
        &mut self,
        now: Timestamp,
        observation: Observation,
        verdicts: &mut Vec<Verdict>,
    ) {
        self.notice(now);
        match observation {
            Observation::Heard { node, incarnation } => self.heard(node, incarnation, verdicts),
            Observation::Left { node } => self.left(&node, verdicts),
            Observation::Removed { node } => drop(self.nodes.remove(&node)),
            Observation::Tick => self.tick(verdicts),
        }
    }

    /// Returns whether a node is up or merely suspected.
    #[must_use]
    pub fn is_up(&self, node: &NodeId) -> bool {
        let health = self.nodes.get(node).map(|watched| watched.health);
        matches!(health, Some(Health::Up { .. } | Health::Suspect { .. }))
    }

    /// Returns whether a node is down; one that was never heard of is not.
    #[must_use]
    pub fn is_down(&self, node: &NodeId) -> bool {
        let health = self.nodes.get(node).map(|watched| watched.health);
        matches!(health, Some(Health::Down { .. }))
    }

    /// Returns the nodes that were heard of.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.keys()
    }

    /// Counts the time since the last call, unless the observer itself was stopped: what it did not hear then says nothing.
    fn notice(&mut self, now: Timestamp) {
        let pause = (self.check_interval * 2).max(self.timeout / 2);
        let passed = self
            .noticed
            .map_or(Duration::ZERO, |noticed| now.since(noticed));
        if passed <= pause {
            self.awake += passed;
        }
        self.noticed = Some(self.noticed.map_or(now, |noticed| noticed.max(now)));
    }

    fn heard(&mut self, node: NodeId, incarnation: Incarnation, verdicts: &mut Vec<Verdict>) {
        let awake = self.awake;
        let Some(watched) = self.nodes.get_mut(&node) else {
            let health = Health::Up { since: awake };
            self.nodes.insert(
                node.clone(),
                Watched {
                    incarnation,
                    heard_at: awake,
                    health,
                    falls: 0,
                },
            );
            return verdicts.push(Verdict::Up { node, incarnation });
        };
        if incarnation < watched.incarnation {
            return;
        }
        let before = watched.incarnation;
        (watched.incarnation, watched.heard_at) = (incarnation, awake);
        match watched.health {
            Health::Up { .. } | Health::Suspect { .. } if before < incarnation => {
                watched.health = Health::Up { since: awake };
                verdicts.push(Verdict::Down {
                    node: node.clone(),
                    incarnation: before,
                });
                verdicts.push(Verdict::Up { node, incarnation });
            }
            Health::Up { .. } => {}
            Health::Suspect { up_since } => watched.health = Health::Up { since: up_since },
            Health::Down { heard_since } => {
                let since = heard_since.unwrap_or(awake);
                if proof(watched.falls, self.check_interval, self.timeout) <= awake - since {
                    watched.health = Health::Up { since: awake };
                    verdicts.push(Verdict::Up { node, incarnation });
                } else {
                    watched.health = Health::Down {
                        heard_since: Some(since),
                    };
                }
            }
        }
    }

    fn left(&mut self, node: &NodeId, verdicts: &mut Vec<Verdict>) {
        if let Some(watched) = self.nodes.get_mut(node)
            && !matches!(watched.health, Health::Down { .. })
        {
            // Who says goodbye is no flapping node.
            watched.health = Health::Down { heard_since: None };
            verdicts.push(Verdict::Down {
                node: node.clone(),
                incarnation: watched.incarnation,
            });
        }
    }

    fn tick(&mut self, verdicts: &mut Vec<Verdict>) {
        let (awake, timeout) = (self.awake, self.timeout);
        for (node, watched) in &mut self.nodes {
            let silent = awake.saturating_sub(watched.heard_at);
            match watched.health {
                Health::Up { since } | Health::Suspect { up_since: since } if timeout <= silent => {
                    let steady =
                        timeout * STEADY_TIMEOUTS <= watched.heard_at.saturating_sub(since);
                    watched.falls = if steady {
                        1
                    } else {
                        watched.falls.saturating_add(1)
                    };
                    watched.health = Health::Down { heard_since: None };
                    verdicts.push(Verdict::Down {
                        node: node.clone(),
                        incarnation: watched.incarnation,
                    });
                }
                Health::Up { since } if timeout / 2 <= silent => {
                    watched.health = Health::Suspect { up_since: since };
                    verdicts.push(Verdict::Suspect { node: node.clone() });
                }
                Health::Down {
                    heard_since: Some(_),
                } if timeout <= silent => {
                    watched.health = Health::Down { heard_since: None };
                }
                Health::Up { .. } | Health::Suspect { .. } | Health::Down { .. } => {}
            }
        }
    }
}

/// For how long a node must be heard before it is up again: none after its first fall, then twice as long with each.
fn proof(falls: u32, check_interval: Duration, timeout: Duration) -> Duration {
    match falls {
        0 | 1 => Duration::ZERO,
        _ => check_interval
            .saturating_mul(1 << (falls - 2).min(20))
            .min(timeout * PROOF_TIMEOUTS_MAX),
    }
}

#[cfg(test)]
mod tests;
