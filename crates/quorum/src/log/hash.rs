//! The hash of a record, which covers all records before it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A SHA-256 hash. Equal hashes mean equal logs up to and with the record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands in front of the first record.
    pub const EMPTY: Self = Self([0; 32]);
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
