//! A record to count in, which shows whether a change was lost.

use serde::{Deserialize, Serialize};
use shardwright_registry::Record;

/// How often something was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// As many times.
    pub count: u64,
}

impl Count {
    /// Returns one more.
    #[must_use]
    pub fn next(&self) -> Self {
        let count = self.count + 1;
        Self { count }
    }
}

impl Record for Count {
    const KIND: &'static str = "count";
    const VERSION: u64 = 1;
}
